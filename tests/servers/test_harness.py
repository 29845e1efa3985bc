"""Nothing is left behind, however a run ends; what cannot be had is skipped by name."""
import importlib.machinery
import importlib.util
import os
import random
import re
import signal
import subprocess
import sys
import threading

import pytest

import guard
from harness import HERE, ROOT, Failed, Harness, Port, Unavailable, kept, wait_for

WITH = os.path.join(HERE, 'with')


def processes_of(folder):
    """Processes that work in the folder, or that have it in their arguments."""
    found = set()
    for name in os.listdir('/proc'):
        if not name.isdigit():
            continue
        try:
            with open('/proc/%s/cmdline' % name, 'rb') as file:
                command = file.read()
            where = os.readlink('/proc/%s/cwd' % name)
        except OSError:
            continue
        if where.startswith(folder) or folder.encode() in command:
            found.add(int(name))
    return found


def segments():
    """System V segments: {the process that made it}."""
    with open('/proc/sysvipc/shm') as file:
        return {int(line.split()[4]) for line in file.readlines()[1:]}


def ended(pid):
    try:
        with open('/proc/%d/stat' % pid) as file:
            return file.read().rpartition(')')[2].split()[0] in 'ZX'
    except OSError:
        return True


class Run:
    """tests/servers/with around a command that says where it is, and waits."""

    def __init__(self, *servers, command='echo $$ $POLY_TEST_CONTROL; exec sleep 600'):
        self.count = len(servers)
        self.process = subprocess.Popen([WITH, *servers, '--', 'sh', '-c', command], text=True,
                                        stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                                        start_new_session=True)

    def look(self):
        """Waits until it runs, and sees what there is."""
        line = self.process.stdout.readline()
        if line.startswith('skipped: '):
            name, reason = re.match(r'skipped: (\w+) \((.*)\)', line).groups()
            raise Unavailable(name, reason)
        assert line, self.process.stderr.read()
        command, control = line.split()
        self.command, self.folder = int(command), os.path.dirname(control)
        self.servers = processes_of(self.folder)
        assert len(self.servers) > 3
        self.makers = segments() & self.servers
        assert len(self.makers) == self.count
        with open(os.path.join(self.folder, guard.LOCK)) as file:
            self.guard = int(file.readline())
        return self

    def end_at_once(self):
        """Whatever became of the test."""
        if self.process.poll() is None:
            self.process.terminate()
        self.end()

    def end(self):
        self.process.wait(60)
        self.process.stdout.close()
        self.process.stderr.close()

    def is_gone(self):
        wait_for(lambda: not os.path.exists(self.folder), 60, 'the folder is still there')
        wait_for(lambda: all(map(ended, self.servers | {self.command, self.guard})), 60,
                 'there are processes still')
        assert not segments() & self.makers


@pytest.fixture
def start():
    """start('postgresql15'): a Run that ends with the test at the latest."""
    made = []

    def make(*servers, **options):
        made.append(Run(*servers, **options))
        return made[-1].look()
    yield make
    for one in made:
        one.end_at_once()


@pytest.mark.parametrize('code', [0, 3])
def test_nothing_is_left_when_the_command_ends(start, code):
    run = start('postgresql15', command='trap "exit %d" USR1; echo $$ $POLY_TEST_CONTROL;'
              ' while :; do sleep 0.1; done' % code)
    os.kill(run.command, signal.SIGUSR1)
    run.end()
    assert run.process.returncode == code
    assert not os.path.exists(run.folder)  # before `with` has ended, not some time later
    run.is_gone()


@pytest.mark.parametrize('number', [signal.SIGTERM, signal.SIGINT, signal.SIGKILL])
@pytest.mark.parametrize('whom', ['the runner', 'its whole group'])
def test_nothing_is_left_when_the_run_is_killed(start, number, whom):
    run = start('postgresql15')
    (os.kill if whom == 'the runner' else os.killpg)(run.process.pid, number)
    run.end()
    assert run.process.returncode == (-9 if number == signal.SIGKILL else 128 + number)
    run.is_gone()


@pytest.mark.parametrize('hurt', [signal.SIGSTOP, signal.SIGKILL])
def test_nothing_is_left_of_a_server_that_was_hurt(start, hurt):
    run = start('postgresql15')
    maker, = run.makers
    os.kill(maker, hurt)
    os.kill(run.process.pid, signal.SIGKILL)
    run.end()
    run.is_gone()


def test_the_next_run_takes_away_what_a_killed_guard_left(start):
    run = start('postgresql15')
    os.kill(run.guard, signal.SIGKILL)
    os.killpg(run.process.pid, signal.SIGKILL)
    run.end()
    wait_for(lambda: all(map(ended, run.makers)), 60, 'the server outlives its guard')
    with Harness():
        pass
    run.is_gone()


def test_a_run_that_goes_on_is_left_alone(make_harness):
    first = make_harness()
    with Harness():
        assert os.path.exists(first.folder)
    assert os.path.exists(first.folder)


def test_a_server_that_does_not_start_leaves_nothing():
    done = subprocess.run([WITH, 'postgresql15,no_such_setting=1', '--', 'true'], text=True,
                          capture_output=True)
    assert done.returncode == 99
    folder, = set(re.findall(r'/\S*?/polystore-servers-\w+', done.stderr)) or {None}
    assert folder is None or not processes_of(folder) and not os.path.exists(folder)


def test_the_exit_code_is_the_commands():
    for command, code in (('exit 0', 0), ('exit 7', 7), ('kill -9 $$', 137)):
        assert subprocess.run([WITH, 'postgresql15', '--', 'sh', '-c', command]).returncode == code


def prove():
    loader = importlib.machinery.SourceFileLoader('prove', os.path.join(ROOT, 'tools', 'prove'))
    module = importlib.util.module_from_spec(importlib.util.spec_from_loader('prove', loader))
    loader.exec_module(module)
    return module


def test_what_cannot_be_had_is_counted_as_skipped(monkeypatch):
    monkeypatch.setenv('POLY_TEST_POSTGRESQL_URL', 'postgresql://127.0.0.1:1/x')
    done = subprocess.run([WITH, 'postgresql17', '--', 'true'], text=True, capture_output=True)
    assert done.returncode == 77
    tally = prove().Tally()
    prove().count_test('tests', {'name': 'x', 'result': 'SKIP', 'stdout': done.stdout}, tally)
    assert (tally.passed, tally.failed, tally.skipped) == (0, 0, 1)
    own = subprocess.run([WITH, 'postgresql15,own', '--', 'true'], text=True, capture_output=True)
    assert (own.returncode, own.stdout.split(' (')[0]) == (77, 'skipped: postgresql15')
    assert tally.reasons == ['tests: postgresql17 (POLY_TEST_POSTGRESQL_URL names the server to'
                             ' test against)']


def test_what_cannot_be_had_skips_a_test_of_pytest(tmp_path):
    (tmp_path / 'conftest.py').write_text(
        'import sys\nsys.path.insert(0, %r)\nfrom fixtures import *\n' % HERE)
    (tmp_path / 'test_x.py').write_text(
        'def test_x(make_postgresql):\n    make_postgresql("postgresql18")\n')
    done = subprocess.run([sys.executable, '-m', 'pytest', '-q', '-rs', '-p', 'no:cacheprovider',
                           str(tmp_path)], text=True, capture_output=True,
                          env=dict(os.environ, POLY_TEST_POSTGRESQL_URL='postgresql://x/x'))
    passed, failed, skipped = prove().count_output(done.stdout)
    assert (passed, failed, skipped) == (0, 0, 1), done.stdout
    assert 'postgresql18 (POLY_TEST_POSTGRESQL_URL' in done.stdout


def test_a_port_is_given_once(monkeypatch):
    first = Port()
    choices = iter([first.number, first.number + 1 if first.number < 60000 else 10001])
    monkeypatch.setattr(random, 'choice', lambda _: next(choices))
    try:
        second = Port()
        assert second.number != first.number
        second.free()
    finally:
        first.free()


class TestKept:
    @pytest.fixture(autouse=True)
    def cache(self, tmp_path, monkeypatch):
        monkeypatch.setenv('POLY_TEST_CACHE', str(tmp_path))
        return tmp_path

    def test_it_is_got_once_by_many(self):
        made = []

        def make(path):
            made.append(path)
            with open(os.path.join(path, 'x'), 'w'):
                pass
        threads = [threading.Thread(target=kept.once, args=('it', 'one==1', make))
                   for _ in range(4)]
        for one in threads:
            one.start()
        for one in threads:
            one.join()
        assert len(made) == 1
        assert os.listdir(kept.once('it', 'one==1', make)) == ['x']
        kept.once('it', 'one==2', make)
        assert len(made) == 2

    def test_a_failure_is_remembered_for_a_while(self, cache):
        tried = []

        def make(path):
            tried.append(path)
            kept.run(['sh', '-c', 'echo E: no such package; echo more; exit 1'])
        for _ in range(2):
            with pytest.raises(Unavailable, match='sh: E: no such package'):
                kept.once('it', 'one', make)
        assert len(tried) == 1
        note, = cache.glob('*.failed')
        os.utime(note, (0, 0))
        with pytest.raises(Unavailable):
            kept.once('it', 'one', make)
        assert len(tried) == 2 and not list(cache.glob('*.new'))

    def test_a_half_made_one_is_made_again(self, cache):
        (cache / 'it-one.new').mkdir()
        (cache / 'it-one.new' / 'half').touch()
        path = kept.once('it', 'one', lambda folder: None)
        assert os.listdir(path) == []


def test_a_guard_that_is_gone_is_told():
    harness = Harness()
    os.kill(harness.guard_pid, signal.SIGKILL)
    with pytest.raises((Failed, OSError)):
        harness.order('alive', pids=[1])
    harness.close()
    assert not os.path.exists(harness.folder)
