"""A daemon for each test that wants one: its own folder, a free port, stopped by its process id."""
import os
import re
import shutil
import signal
import subprocess
import tempfile
import time

import pytest
import requests

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
POLYSTORED = os.environ.get('POLYSTORED', os.path.join(ROOT, 'build/src/server/polystored'))



def sanitized():
    """A build with a sanitizer: its memory says nothing."""
    with open(POLYSTORED, 'rb') as file:
        return re.search(rb'__(asan|tsan)_init', file.read()) is not None


MIGRATION = """
CREATE TABLE documents (id TEXT PRIMARY KEY, tenant_id TEXT NOT NULL, title TEXT, body TEXT,
                        state TEXT, size INTEGER) STRICT;
CREATE TABLE notes (id TEXT PRIMARY KEY, text TEXT) STRICT;
"""
DOMAINS = """
migrations: migrations
domains:
  documents:
    table: documents
    tenant: tenant_id
    search: {fields: {title: 4.0, body: 1.0}, filters: [state]}
  notes:
    table: notes
    tenant: none
    search: {fields: [text]}
"""




class Daemon:
    """One polystored: start, talk, stop. Use as a context manager, or through the fixture."""

    def __init__(self, folder, config='', domains=DOMAINS, scheme='http'):
        self.folder, self.scheme = folder, scheme
        self.data = os.path.join(folder, 'data')
        self.config = os.path.join(folder, 'polystore.yaml')
        self.process = self.port = self.key = None
        os.makedirs(os.path.join(folder, 'migrations'), exist_ok=True)
        with open(os.path.join(folder, 'migrations', '0001_init.sql'), 'w') as file:
            file.write(MIGRATION)
        with open(self.config, 'w') as file:
            file.write(domains + config)

    def command(self, *more):
        return [POLYSTORED, '--config', self.config, '--data', self.data, *more]

    def run(self, *more, **options):
        """Runs it to its end, for starts that are to fail."""
        return subprocess.run(self.command(*more), capture_output=True, text=True, timeout=30,
                              **options)

    def start(self, *more, listen='127.0.0.1:0', migrate=True, env=None, key=None):
        """key: an administrator's, of another daemon on the same database."""
        if key is not None:
            os.makedirs(self.data, mode=0o700, exist_ok=True)
            path = os.path.join(self.data, 'admin.key')
            with open(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), 'w') as file:
                file.write(key + '\n')
        self.log_path = os.path.join(self.folder, 'log')
        self.log_file = open(self.log_path, 'w')
        self.process = subprocess.Popen(self.command('--listen', listen, *more), stderr=self.log_file,
                                        env=None if env is None else dict(os.environ, **env))
        wait_for(self._serves, 60, lambda: 'no start:\n' + self.log())
        match = re.search(r'event=start .*serves https?://(\S+):(\d+)"', self.log())
        self.host, self.port = match.group(1), int(match.group(2))
        with open(os.path.join(self.data, 'admin.key')) as file:
            self.key = file.read().strip()
        if migrate:
            assert self.post('/v1/migrations').status_code == 200
        return self

    def _serves(self):
        if self.process.poll() is not None:
            raise AssertionError('it ended with %d:\n%s' % (self.process.returncode, self.log()))
        return 'event=start' in self.log()

    def log(self):
        with open(self.log_path, errors='replace') as file:
            return file.read()

    @property
    def url(self):
        return '%s://127.0.0.1:%d' % (self.scheme, self.port)

    def request(self, method, path, key=None, headers=None, **options):
        head = dict(headers or {})
        key = self.key if key is None else key
        if key:
            head['Authorization'] = 'Bearer ' + key
        options.setdefault('timeout', 30)
        return requests.request(method, self.url + path, headers=head, **options)

    def get(self, path, **options):
        return self.request('GET', path, **options)

    def put(self, path, **options):
        return self.request('PUT', path, **options)

    def post(self, path, **options):
        return self.request('POST', path, **options)

    def make_key(self, **options):
        answer = self.post('/v1/keys', json=options)
        assert answer.status_code in (200, 201), answer.text
        body = answer.json()
        return next(v for v in body.values() if isinstance(v, str) and v.startswith('pk_')), body

    def metrics(self):
        """{'name{labels}': value}"""
        found = {}
        for line in self.get('/metrics').text.splitlines():
            if line and not line.startswith('#'):
                name, value = line.rsplit(' ', 1)
                found[name] = float(value)
        return found

    def stop(self, code=0):
        if self.process is None:
            return
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
        ended = self.process.wait(timeout=60)
        self.process = None
        self.log_file.close()
        assert ended == code, 'it ended with %d:\n%s' % (ended, self.log())
        assert 'Sanitizer' not in self.log(), self.log()

    def kill(self):
        self.process.kill()
        self.process.wait(timeout=60)
        self.process = None
        self.log_file.close()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        if self.process is not None and self.process.poll() is None:
            self.process.kill()
            self.process.wait()


def wait_for(condition, seconds, message='it did not happen'):
    end = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > end:
            raise AssertionError(message() if callable(message) else message)
        time.sleep(0.01)


@pytest.fixture
def folder():
    path = tempfile.mkdtemp(prefix='polystore-wire-')
    yield path
    shutil.rmtree(path, ignore_errors=True)


@pytest.fixture
def make(folder):
    """make(config='', ...) gives a daemon that is not started yet."""
    made = []

    def build(config='', **options):
        one = Daemon(folder, config, **options)
        made.append(one)
        return one
    yield build
    for one in made:
        one.__exit__()


@pytest.fixture
def daemon(make):
    one = make().start()
    yield one
    one.stop()


@pytest.fixture(scope='module')
def shared():
    """One daemon for a whole file of tests that do not mind each other."""
    path = tempfile.mkdtemp(prefix='polystore-wire-')
    with Daemon(path).start() as one:
        yield one
        one.stop()
    shutil.rmtree(path, ignore_errors=True)
