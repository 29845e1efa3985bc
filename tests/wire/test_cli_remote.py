"""The command line against servers that answer what a good one seldom does."""
import http.server
import json
import re
import threading

import pytest

from cli_fixtures import ROOT, Folder


class Server:
    """Answers every request with status, headers and body; keeps what was asked."""

    def __init__(self):
        outer = self
        self.status, self.headers, self.body, self.cut = 200, {}, b'{}', False
        self.asked = []

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = 'HTTP/1.1'

            def answer(self):
                size = int(self.headers.get('Content-Length', 0))
                outer.asked.append((self.command, self.path, dict(self.headers),
                                    self.rfile.read(size)))
                self.send_response(outer.status)
                for name, value in outer.headers.items():
                    self.send_header(name, value)
                self.send_header('Content-Length', str(len(outer.body) + (5 if outer.cut else 0)))
                self.end_headers()
                self.wfile.write(outer.body)
                self.close_connection = outer.cut

            do_GET = do_PUT = do_POST = do_PATCH = do_DELETE = answer

            def log_message(self, *words):
                pass

        self.server = http.server.ThreadingHTTPServer(('127.0.0.1', 0), Handler)
        self.url = 'http://127.0.0.1:%d' % self.server.server_port
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def say(self, body, status=200, cut=False, **headers):
        self.body = body.encode() if isinstance(body, str) else json.dumps(body).encode()
        self.status, self.cut = status, cut
        self.headers = {name.replace('_', '-'): value for name, value in headers.items()}


@pytest.fixture
def server():
    server = Server()
    yield server
    server.server.shutdown()
    server.server.server_close()


@pytest.fixture
def folder(tmp_path, server):
    folder = Folder(tmp_path)
    folder.file('key', 'pk_id_secret\n')
    plain = folder.run

    def run(*words, **options):
        return plain('--server', server.url, '--key-file', 'key', *words, **options)

    folder.run = run
    return folder


def statuses():
    with open(ROOT + '/include/polystore/status.h') as file:
        return [(name, int(http_status), int(code)) for name, http_status, code in
                re.findall(r'X\((\w+), (\d+), (\d+), "', file.read()) if name != 'OK']


def problem(kind, status, detail='the subject'):
    return {'type': 'urn:polystore:error:' + kind, 'title': 't', 'status': status, 'detail': detail}


def test_every_problem_has_its_exit_code(folder, server):
    for name, status, code in statuses():
        server.say(problem(name.lower().replace('_', '-'), status), status)
        folder.bad(code, 'get', 'a', 'b', says='get: the subject')
    for status, code in ((401, 6), (413, 7), (431, 7), (405, 2), (502, 9)):
        server.say('<html>', status)
        folder.bad(code, 'get', 'a', 'b', says=str(status))


def test_a_state_that_is_not_good_is_9(folder, server):
    for state, code in (('ok', 0), ('behind', 0), ('filling', 9), ('retrying', 9), ('stopped', 9),
                        ('unreachable', 9), ('failed', 9)):
        server.say({'state': state, 'projections': [
            {'store': 'search', 'state': state, 'error': 'line\u001b[31m one\ntwo'}]})
        for words in (['status'], ['status', '--json']):
            done = folder.run(*words)
            assert (done.returncode, done.stderr) == (code, ''), words
            assert state in done.stdout and '\x1b' not in done.stdout


def test_what_is_sent(folder, server):
    server.say({'token': 't', 'position': 1, 'replayed': False, 'results': []})
    folder.good('put', 'a b', 'k/\u00fc?', 'x=1', '--if-version', '7', '--idempotency-key', 'i',
                '--tenant', 'acme')
    method, path, headers, body = server.asked[-1]
    assert (method, path) == ('PUT', '/v1/records/a%20b/k%2F%C3%BC%3F')
    assert headers['Authorization'] == 'Bearer pk_id_secret'
    assert headers['Polystore-Tenant'] == 'acme'
    assert headers['If-Match'] == '"7"' and headers['Idempotency-Key'] == 'i'
    assert json.loads(body) == {'x': '1'}
    server.say({'documents': []})
    folder.good('list', 'a', '--where', 'x=a&b', '--token', 'tok\r\nX-Evil: 1', '--consistency', 'stale')
    method, path, headers, body = server.asked[-1]
    assert 'a%26b' in path and 'X-Evil' not in headers
    assert headers['Polystore-Consistency'] == 'stale'


def test_a_stale_answer_says_so(folder, server):
    server.say({'version': 1, 'records': [], 'more': False}, Polystore_Stale='true')
    done = folder.run('events', 'a')
    assert done.returncode == 0 and 'older than the token' in done.stderr
    assert folder.run('-q', 'events', 'a').stderr == ''


def test_an_answer_that_breaks_off(folder, server):
    server.say('{"documents":[', cut=True)
    folder.bad(9, 'list', 'a', says=server.url)
    server.say('{"documents":[')
    folder.bad(1, 'list', 'a', says='not JSON')


def test_an_error_after_the_beginning(folder, server):
    bad = json.dumps(problem('timeout', 504, 'too long'), separators=(',', ':'))
    server.say('{"rows":[{"a":1}],"error":%s}\n' % bad)
    folder.bad(8, 'sql', 'SELECT 1', says='too long')
    done = folder.run('--json', 'sql', 'SELECT 1')
    assert done.returncode == 8 and json.loads(done.stderr)['error'] == 'timeout'
    # Inside of a row it is data.
    server.say('{"rows":[{"a":{"error":%s}}]}\n' % bad)
    folder.good('sql', 'SELECT 1')
    server.say('{"rows":[{"a":%s}]}\n' % json.dumps('"error":' + bad))
    folder.good('sql', 'SELECT 1')


def test_control_characters_of_data_are_not_printed(folder, server):
    row = {'a\u001b': 'x\u001b[2J\u009b', 'b': '\u202egnp'}
    server.say({'key': 'k', 'version': 1, 'row': row})
    text = folder.good('get', 'a', 'k')
    assert not re.search('[\x00-\x09\x0b-\x1f\x7f-\x9f\u202e]', text)
    server.say(problem('invalid', 400, 'a\u001b[2Jb\nc'), 400)
    assert '\x1b' not in folder.bad(2, 'get', 'a', 'k')
