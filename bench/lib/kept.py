"""What a measurement fetches, data and peers: once on a machine, by name and version from the
registries' own clients, into POLY_BENCH_CACHE, else ~/.cache/polystore/bench. A folder there may be
deleted at any time."""
import os
import shutil
import subprocess

from lib import harness


class Unavailable(Exception):
    """Why it cannot be had here."""


def folder():
    home = os.environ.get('XDG_CACHE_HOME') or os.path.expanduser('~/.cache')
    path = os.environ.get('POLY_BENCH_CACHE') or os.path.join(home, 'polystore', 'bench')
    os.makedirs(path, exist_ok=True)
    return os.path.abspath(path)


def once(name, make):
    """The folder NAME, filled by make(path) now or on an earlier day; half of it is never seen."""
    path = os.path.join(folder(), name)
    if os.path.isdir(path):
        return path
    harness.progress('getting %s, once on this machine' % name)
    new = path + '.new'
    shutil.rmtree(new, ignore_errors=True)
    os.mkdir(new)
    make(new)
    os.rename(new, path)
    return path


def run(*command, cwd=None):
    try:
        done = subprocess.run(command, cwd=cwd, text=True, stdin=subprocess.DEVNULL,
                              stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    except FileNotFoundError:
        raise Unavailable('no %s here' % command[0]) from None
    if done.returncode != 0:
        lines = done.stderr.strip().split('\n')
        raise Unavailable('%s: %s' % (' '.join(command[:2]), lines[-1]))
    return done.stdout


def npm(package, version):
    """The unpacked files of a package; what it says to run when installed is not run."""
    def make(path):
        run('npm', 'pack', '--ignore-scripts', '%s@%s' % (package, version), cwd=path)
        for name in os.listdir(path):
            run('tar', 'xzf', name, '--no-same-owner', cwd=path)
            os.remove(os.path.join(path, name))
    return os.path.join(once('%s-%s' % (package.replace('/', '-'), version), make), 'package')


def python(package, version):
    """An environment of its own for a package of the index for Python."""
    def make(path):
        run('python3', '-m', 'venv', path)
        run(os.path.join(path, 'bin', 'python'), '-m', 'pip', 'install', '--quiet',
            '--only-binary', ':all:', '%s==%s' % (package, version))
    return once('python-%s-%s' % (package, version), make)
