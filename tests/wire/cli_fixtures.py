"""The command line in a folder of its own, on the data directly or with a daemon on it."""
import atexit
import json
import os
import re
import signal
import subprocess
import time

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
POLYSTORE = os.environ.get('POLYSTORE', os.path.join(ROOT, 'build/src/cli/polystore'))
POLYSTORED = os.environ.get('POLYSTORED', os.path.join(ROOT, 'build/src/server/polystored'))
EXAMPLE = os.path.join(ROOT, 'examples/packages')

INDEX = """\
Package: bash
Version: 5.2
Installed-Size: 7164
Maintainer: Ada
Section: shells
Depends: base-files (>= 2.1), libc6 | musl
Description: GNU Bourne Again SHell
 Reads commands and runs them.
 .
 It is a shell.

Package: ed
Version: 1.19
Installed-Size: 120
Maintainer: Ada
Section: editors
Description: classic UNIX line text editor

Package: emacs
Version: 28.2
Installed-Size: 600000
Maintainer: Bob
Section: editors
Description: GNU Emacs text editor (metapackage)

Package: ed
Version: 1.10
Section: editors
Description: an older one

Package: dash
Version: 0.5.12
Installed-Size: 191
Maintainer: Bob
Section: shells
Description: POSIX-compliant shell
"""


class Folder:
    """A folder with a configuration. run() runs polystore in it."""

    def __init__(self, path):
        self.path = str(path)
        self.daemon = None

    def environment(self):
        env = {k: v for k, v in os.environ.items() if not k.startswith('POLYSTORE')}
        env['PATH'] = os.path.dirname(POLYSTORE) + ':' + env['PATH']
        return env

    def run(self, *words, input=None, timeout=60):
        return subprocess.run([POLYSTORE, *words], cwd=self.path, input=input, text=True,
                              capture_output=True, timeout=timeout, env=self.environment())

    def good(self, *words, input=None):
        """stdout; it must have worked."""
        done = self.run(*words, input=input)
        assert done.returncode == 0, (words, done.returncode, done.stdout, done.stderr)
        return done.stdout

    def json(self, *words, input=None):
        return json.loads(self.good('--json', *words, input=input))

    def bad(self, code, *words, input=None, says=''):
        """One line on stderr, nothing on stdout, that exit code."""
        done = self.run(*words, input=input)
        assert done.returncode == code, (words, done.returncode, done.stdout, done.stderr)
        assert done.stdout == ''
        assert done.stderr.count('\n') == 1 and done.stderr.startswith('polystore: '), done.stderr
        assert says in done.stderr, done.stderr
        return done.stderr

    def file(self, name, text):
        with open(os.path.join(self.path, name), 'w') as file:
            file.write(text)
        return name

    def start(self, listen='127.0.0.1:0'):
        atexit.register(self.kill)
        log = open(os.path.join(self.path, 'daemon.log'), 'w')
        self.daemon = subprocess.Popen([POLYSTORED, '--listen', listen], cwd=self.path,
                                       stderr=log, env=self.environment())
        until = time.monotonic() + 20
        while True:
            with open(os.path.join(self.path, 'daemon.log')) as file:
                text = file.read()
            if 'event=start' in text:
                return self
            assert self.daemon.poll() is None and time.monotonic() < until, text
            time.sleep(0.02)

    def kill(self):
        """Of a test that failed half-way."""
        if self.daemon is not None and self.daemon.poll() is None:
            self.daemon.kill()
            self.daemon.wait()

    def stop(self):
        if self.daemon is not None:
            self.daemon.send_signal(signal.SIGTERM)
            assert self.daemon.wait(30) == 0
            self.daemon = None


def fresh(path):
    """What 'polystore init' makes, with its tables."""
    folder = Folder(path)
    folder.good('init')
    folder.good('migrate', 'up')
    return folder


def packages(path):
    """The example of the package index, with five packages."""
    folder = Folder(path)
    os.makedirs(os.path.join(folder.path, 'migrations'))
    for name in ('polystore.yaml', 'migrations/0001_packages.sql', 'migrations/0002_vectors.sql'):
        with open(os.path.join(EXAMPLE, name)) as file:
            text = file.read()
        folder.file(name, text.replace('../../data', 'data'))
    folder.good('migrate', 'up')
    folder.good('import', 'packages', folder.file('Packages', INDEX))
    return folder


def without_what_differs(text):
    """Times, tokens, keys and sizes differ from run to run."""
    text = re.sub(r'\d{4}-\d\d-\d\dT[\d:.]+Z', 'TIME', text)
    text = re.sub(r'AQ[\w-]{30,}', 'TOKEN', text)
    text = re.sub(r'pk_[0-9a-f]+_[0-9a-f]+', 'KEY', text)
    text = re.sub(r'\b[0-9a-f]{16,64}\b', 'HEX', text)
    text = re.sub(r'[\d.]+ s\b', 'SECONDS', text)
    return re.sub(r'"seconds":[\d.]+', '"seconds":N', text)
