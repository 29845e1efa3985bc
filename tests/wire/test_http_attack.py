"""What an attacker sends: each of these was taken, or did harm, once."""
import json
import os
import stat

import pytest

from conftest import sanitized
from test_http_auth import problem
from test_http_limits import connect, read_all

BODY = b'{"text":"x"}'


def send(daemon, *lines, method='PUT', path='/v1/records/notes/attack', body=BODY):
    """The status codes of all that is answered until the daemon closes, and the answer."""
    head = ['%s %s HTTP/1.1' % (method, path), 'Host: x', 'Authorization: Bearer ' + daemon.key]
    text = '\r\n'.join(head + list(lines)).encode('latin-1') + b'\r\n\r\n' + body
    with connect(daemon) as connection:
        connection.settimeout(8)
        connection.sendall(text)
        answer, _ = read_all(connection)
    return [int(part[:3]) for part in answer.split(b'HTTP/1.1 ')[1:]], answer


SMUGGLED = b'DELETE /v1/records/notes/kept HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer %s\r\n\r\n'


@pytest.mark.parametrize('lines', [
    ('Content-Length: 12', 'Transfer-Encoding: chunked'),
    ('Transfer-Encoding: chunked', 'Content-Length: 5'),
    ('Content-Length: 12', 'Content-Length: 50'), ('Content-Length: 12', 'Content-Length: 12'),
    ('Content-Length : 12',), ('Transfer-Encoding : chunked',), ('Transfer-Encoding: xchunked',),
    ('Transfer-Encoding: gzip, chunked',), ('Transfer-Encoding: \x0bchunked', 'Content-Length: 12'),
    ('Transfer-Encoding: chunked', 'Transfer-Encoding: identity'), ('Content-Length: 12, 12',),
    ('Content-Length: +12',), ('Content-Length: 0xc',), ('Content-Length:',)])
def test_a_body_of_uncertain_length_ends_the_connection(shared, lines):
    """Proxies in front may see another end: what comes after it would be somebody else's request."""
    assert shared.put('/v1/records/notes/kept', json={'text': 'kept'}).status_code == 200
    for body in (BODY, b'c\r\n' + BODY + b'\r\n0\r\n\r\n', b'0\r\n\r\n'):
        codes, _ = send(shared, *lines, body=body + SMUGGLED % shared.key.encode())
        assert set(codes) <= {400} and codes, codes
    assert shared.get('/v1/records/notes/kept').status_code == 200


@pytest.mark.parametrize('end', ['\n', '\r\n ', '\r'])
def test_odd_line_ends_hide_no_header(shared, end):
    """libmicrohttpd takes lines that end in LF, and folded ones. What decides the length is found
    behind them all the same, or is no header at all: one request never becomes two."""
    for hidden in ('Transfer-Encoding: chunked', 'Content-Length: 3'):
        codes, answer = send(shared, 'X: a' + end + hidden, 'Content-Length: 12',
                             'Connection: close')
        assert len(codes) == 1 and codes[0] in (200, 400), answer
        assert codes == [400] or end != '\n'


@pytest.mark.parametrize('lines', [
    ('Authorization: Bearer pk_a_b',), ('Polystore-Tenant: a', 'Polystore-Tenant: b'),
    ('Host: y',), ('If-Match: "1"', 'If-Match: "2"'), ('Idempotency-Key: a', 'Idempotency-Key: b'),
    ('Polystore-Tenant: b\xff',), ('Idempotency-Key: \xff',)])
def test_what_decides_comes_once_and_as_text(shared, lines):
    codes, answer = send(shared, *lines, 'Content-Length: 12')
    assert codes == [400] and b'malformed-header' in answer


def test_a_negative_limit_is_wrong_not_too_large(make):
    daemon = make('limits: {rows: 50}\n').start()
    problem(daemon.get('/v1/records/notes?limit=-1'), 400)
    daemon.stop()


def test_nothing_that_is_echoed_breaks_out(shared):
    odd = ['/v1/records/notes/a%0d%0aX-Injected:%201', '/v1/x\xff\x1b[31m', '/v1/x?a\r=\xff',
           '/v1/search?q=%22%0d%0aX-Injected']
    for path in odd:
        _, answer = send(shared, 'Connection: close', method='GET', path=path, body=b'')
        if answer:
            head, _, body = answer.partition(b'\r\n\r\n')
            assert b'X-Injected' not in head.replace(b'%0aX-Injected', b'')
            json.loads(body.decode('utf-8'))
    assert all(line.startswith('time=') for line in shared.log().splitlines())


def test_an_event_type_does_not_break_out_of_its_line(shared):
    kind = 'a\r\n\r\nid: 99\r\ndata: {}\r\n'
    assert shared.post('/v1/streams/odd-1', json={'events': [{'type': kind}]}).status_code == 200
    lines = shared.get('/v1/log/export?domain=odd').text.splitlines()
    assert [json.loads(line)['type'] for line in lines] == [kind]
    with shared.get('/v1/subscribe?domain=odd', stream=True) as answer:
        got = answer.raw.readline() + answer.raw.readline()
    assert b'\nid: 99' not in got and json.loads(got.partition(b'data: ')[2])['type'] == kind


# --- SQL that asks for the whole machine ---

def doubling(levels):
    return ('WITH c0 AS (SELECT 1 x)' +
            ''.join(', c%d AS (SELECT a.x FROM c%d a, c%d b)' % (i, i - 1, i - 1)
                    for i in range(1, levels)) + ' SELECT count(*) FROM c%d' % (levels - 1))


def flattened(levels):
    return ('WITH c0 AS (SELECT id x FROM documents)' +
            ''.join(', c%d AS (SELECT x || x x FROM c%d)' % (i, i - 1) for i in range(1, levels)) +
            ' SELECT x FROM c%d' % (levels - 1))


GREEDY = {
    'doubling': doubling(40), 'flattened': flattened(40),
    'columns': 'SELECT ' + ','.join('randomblob(%d)' % (16_000_000 + i) for i in range(300)),
    'constants': 'SELECT ' + ','.join('length(hex(zeroblob(%d)))' % (8_000_000 + i)
                                      for i in range(300)),
    'side by side': 'SELECT ' + ','.join('length(randomblob(%d))' % (16_000_000 + i)
                                         for i in range(400)),
    'pattern': "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n), t AS MATERIALIZED "
               "(SELECT replace(hex(zeroblob(8000000)), '0', 'a') x) "
               "SELECT sum(x LIKE '%aaaaaaab' || i) FROM n, t",
    'patch': "SELECT json_patch('{}', '{}')",
}


@pytest.fixture(scope='module')
def quick(tmp_path_factory):
    from conftest import Daemon
    config = 'limits: {request_timeout: 1s}\n'
    with Daemon(str(tmp_path_factory.mktemp('quick')), config).start() as one:
        one.tenant, _ = one.make_key(label='t', tenant='t', rights=['read', 'sql'])
        yield one
        one.stop()


@pytest.mark.parametrize('name', GREEDY)
def test_greedy_sql_ends_and_holds_little(quick, name):
    before = quick.metrics()['process_resident_memory_bytes']
    answer = quick.post('/v1/sql', key=quick.tenant, json={'sql': GREEDY[name]}, timeout=20)
    assert answer.status_code in (400, 403, 429, 504), answer.text[:300]
    with open('/proc/%d/status' % quick.process.pid) as file:
        peak = next(int(line.split()[1]) for line in file if line.startswith('VmHWM'))
    assert peak < 400 * 1024 or sanitized()
    assert quick.metrics()['process_resident_memory_bytes'] - before < 64 << 20 or sanitized()
    honest = quick.post('/v1/sql', key=quick.tenant, json={'sql': "SELECT 'ab' LIKE 'A%'"})
    assert list(honest.json()['rows'][0].values()) == [1]


# --- what only administrators see, and files that only their owner does ---

def test_the_status_of_a_tenant_names_no_place(shared):
    tenant, _ = shared.make_key(label='looker', tenant='looker', rights=['read'])
    assert shared.get('/v1/status').json()['data'] == shared.data
    for path in ('/v1/status', '/metrics', '/ready'):
        assert shared.data not in shared.get(path, key=tenant).text


def test_files_are_their_owner_s(make):
    daemon = make()
    os.mkdir(daemon.data, 0o755)  # made before, by somebody generous
    daemon.start()
    daemon.put('/v1/records/notes/1', json={'text': 'x'})
    for folder, _, names in os.walk(daemon.data):
        for name in names:
            mode = stat.S_IMODE(os.stat(os.path.join(folder, name)).st_mode)
            assert mode & 0o077 == 0, (name, oct(mode))
    daemon.stop()


def test_secrets_stay_secret(make):  # S2-22
    """Keys that are known are looked for in everything that the daemon says."""
    daemon = make().start()
    key, made = daemon.make_key(label='canary', tenant='canary', rights=['read', 'write', 'sql'])
    secrets = [text.rsplit('_', 1)[1] for text in (daemon.key, key)]
    said = []
    for who in (daemon.key, key):
        for path in ('/v1/status', '/metrics', '/ready', '/live', '/openapi.json', '/v1/keys',
                     '/v1/log/export', '/v1/migrations', '/v1/nowhere', '/v1/records/notes/' + who,
                     '/v1/search?q=' + who):
            answer = daemon.get(path, key=who)
            if who not in path:
                said.append(answer.text + str(answer.headers))
        said.append(daemon.post('/v1/sql', key=who, json={'sql': 'SELECT * FROM poly_key'}).text)
        said.append(daemon.post('/v1/streams/s-1', key=who, json={'events': [{'type': 'A'}]}).text)
        said.append(daemon.get('/v1/status', key=who + 'x').text)
    daemon.request('DELETE', '/v1/keys/' + made['id'])
    log = daemon.log().replace('/v1/records/notes/' + daemon.key, '').replace(
        '/v1/records/notes/' + key, '')
    for secret in secrets:
        assert all(secret not in text for text in said + [log])
    daemon.stop()


# --- JSON that is much larger than its text ---

@pytest.mark.parametrize('value', [b'{},', b'[],', b'0,', b'"",', b'{"a":0},'])
def test_many_small_values_take_little(make, value):
    daemon = make().start()
    body = b'{"events":[{"type":"A","data":[' + value * (16_000_000 // len(value)) + b'0]}]}'
    answer = daemon.post('/v1/streams/many-1', data=body)
    assert 'POLY_MAX_JSON_TREE' in problem(answer, 429)['detail']
    body = b'{"events":[{"type":"A","data":[' + value * 100_000 + b'0]}]}'
    assert daemon.post('/v1/streams/many-1', data=body).status_code == 200
    with open('/proc/%d/status' % daemon.process.pid) as file:
        peak = next(int(line.split()[1]) for line in file if line.startswith('VmHWM'))
    assert peak < 256 * 1024 or sanitized()
    daemon.stop()
