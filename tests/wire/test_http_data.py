"""Records, events and search over the wire."""
import json
import uuid

import requests

from conftest import sanitized
from test_http_auth import problem


def test_write_then_read_with_the_token(shared):  # S2-29
    key = str(uuid.uuid4())
    answer = shared.put('/v1/records/notes/' + key, json={'text': 'the walrus sings'})
    assert answer.status_code == 200, answer.text
    token = answer.headers['Polystore-Token']
    assert answer.json()['token'] == token
    answer = shared.get('/v1/search?q=walrus', headers={'Polystore-Token': token})
    assert [hit['key'] for hit in answer.json()['hits']] == [key]
    assert int(answer.headers['Polystore-Applied']) > 0
    assert 'Polystore-Stale' not in answer.headers


def test_one_transaction_over_all_stores(shared):
    body = {'operations': [
        {'op': 'put', 'domain': 'notes', 'key': 'txn', 'row': {'text': 'pelican'}},
        {'op': 'append', 'stream': 'audit-txn', 'expected': 'none',
         'events': [{'type': 'Written', 'data': {'by': 'ada'}}]}]}
    answer = shared.post('/v1/transactions', json=body)
    assert answer.status_code == 200, answer.text
    token = {'Polystore-Token': answer.headers['Polystore-Token']}
    assert shared.get('/v1/records/notes/txn').json()['row']['text'] == 'pelican'
    assert shared.get('/v1/streams/audit-txn').json()['records'][0]['data'] == {'by': 'ada'}
    assert len(shared.get('/v1/search?q=pelican', headers=token).json()['hits']) == 1
    body['operations'][0]['row']['text'] = 'gone wrong'
    problem(shared.post('/v1/transactions', json=body), 412)  # the stream is there now
    assert shared.get('/v1/records/notes/txn').json()['row']['text'] == 'pelican'


def test_tokens_are_checked(shared):
    problem(shared.get('/v1/records/notes/1', headers={'Polystore-Token': 'forged'}), 400)
    problem(shared.get('/v1/search?q=a', headers={'Polystore-Consistency': 'perhaps'}), 400)


def test_etags(shared):
    path = '/v1/records/notes/etag'
    first = shared.put(path, json={'text': 'one'}, headers={'If-None-Match': '*'})
    assert first.status_code == 200
    answer = shared.get(path)
    assert answer.headers['ETag'] == first.headers['ETag']
    assert answer.headers['ETag'] == '"%d"' % answer.json()['version']
    again = shared.get(path, headers={'If-None-Match': answer.headers['ETag']})
    assert again.status_code == 304 and again.content == b''
    second = shared.put(path, json={'text': 'two'}, headers={'If-Match': first.headers['ETag']})
    assert second.status_code == 200 and second.headers['ETag'] != first.headers['ETag']
    problem(shared.put(path, json={'text': 'x'}, headers={'If-Match': first.headers['ETag']}), 412)
    problem(shared.put(path, json={'text': 'x'}, headers={'If-None-Match': '*'}), 412)
    assert shared.get(path).json()['row']['text'] == 'two'


def test_idempotency_key(shared):
    head = {'Idempotency-Key': str(uuid.uuid4())}
    body = {'events': [{'type': 'Paid', 'data': {'total': 1}}]}
    first = shared.post('/v1/streams/pay-1', json=body, headers=head)
    again = shared.post('/v1/streams/pay-1', json=body, headers=head)
    assert first.json()['position'] == again.json()['position']
    assert again.json()['replayed'] and not first.json()['replayed']
    body['events'][0]['data']['total'] = 2
    assert shared.post('/v1/streams/pay-1', json=body, headers=head).status_code in (409, 412)
    assert shared.get('/v1/streams/pay-1').json()['version'] == 1


def test_keys_with_any_character(shared):
    for key in ('a/b', 'a b', 'a%b', 'ä€', '...', 'q?x', 'h#x', '+', '&='):
        path = '/v1/records/notes/' + requests.utils.quote(key, safe='')
        answer = shared.put(path, json={'text': key})
        assert answer.status_code == 200, (key, answer.text)
        assert shared.get(path).json()['key'] == key
    for key in ('a%00b', '%FF', '%ZZ', '%E4%'):
        assert shared.get('/v1/records/notes/' + key).status_code in (400, 404)


def test_request_id(shared):
    assert len(shared.get('/live').headers['Polystore-Request-Id']) > 8
    head = {'Polystore-Request-Id': 'order-service.17'}
    answer = shared.post('/v1/streams/corr-1', json={'events': [{'type': 'A'}]}, headers=head)
    assert answer.headers['Polystore-Request-Id'] == 'order-service.17'
    record = shared.get('/v1/streams/corr-1').json()['records'][0]
    assert record['meta']['correlation'] == 'order-service.17'
    odd = {'Polystore-Request-Id': 'a b"c'}
    assert shared.get('/live', headers=odd).headers['Polystore-Request-Id'] != 'a b"c'


def test_problems(shared):
    missing = problem(shared.get('/v1/records/notes/none'), 404)
    assert missing['instance'] == '/v1/records/notes/none'
    assert 'nowhere' in problem(shared.get('/v1/nowhere'), 404)['detail']
    problem(shared.get('/v1/records/nodomain/1'), 404)
    answer = shared.post('/v1/records/notes/1')
    problem(answer, 405)
    assert {m.strip() for m in answer.headers['Allow'].split(',')} >= {'GET', 'PUT', 'DELETE'}
    bad = problem(shared.put('/v1/records/notes/1', data='{"text": "x",}'), 400)
    assert 'position' in bad
    problem(shared.put('/v1/records/notes/1'), 400)
    problem(shared.put('/v1/records/notes/1', json={'nocolumn': 1}), 400)
    search = problem(shared.get('/v1/search?q=%22unfinished'), 400)
    assert 'position' in search
    problem(shared.get('/v1/search'), 400)
    problem(shared.get('/v1/search?q=a&limit=x'), 400)
    problem(shared.get('/v1/search?q=a&unknown=1'), 400)
    problem(shared.put('/v1/records/notes/1', data='[' * 100 + ']' * 100), 400)


def test_head(shared):
    shared.put('/v1/records/notes/head', json={'text': 'x'})
    answer = shared.request('HEAD', '/v1/records/notes/head')
    assert answer.status_code == 200 and answer.content == b'' and 'ETag' in answer.headers


def test_one_connection_serves_many_requests(shared):
    with requests.Session() as session:
        session.headers['Authorization'] = 'Bearer ' + shared.key
        before = shared.metrics()['polystore_http_connections']
        for i in range(50):
            assert session.get(shared.url + '/live').headers.get('Connection') != 'close'
            assert session.get(shared.url + '/v1/nowhere').status_code == 404
            assert session.put(shared.url + '/v1/records/notes/k%d' % i,
                               json={'text': 'x'}).status_code == 200
        assert shared.metrics()['polystore_http_connections'] <= before + 1


def test_large_value_and_answer(shared):
    text = 'long ' * 400_000  # 2 MB: decoded by a worker
    assert shared.put('/v1/records/notes/large', json={'text': text}).status_code == 200
    assert shared.get('/v1/records/notes/large').json()['row']['text'] == text


def test_stream_of_many_records_takes_constant_memory(shared):
    events = [{'type': 'Filler', 'data': {'text': 'x' * 1000}}] * 1000
    for _ in range(40):  # 40 MB
        assert shared.post('/v1/streams/filler-1', json={'events': events}).status_code == 200
    before = shared.metrics()['process_resident_memory_bytes']
    answer = shared.get('/v1/log/export', stream=True)
    assert answer.status_code == 200
    count = held = 0
    for line in answer.iter_lines():
        count += json.loads(line)['type'] == 'Filler'
        if count % 10000 == 1:
            held = max(held, shared.metrics()['polystore_http_held_bytes'])
    assert count == 40000
    assert held < 1 << 20
    assert shared.metrics()['process_resident_memory_bytes'] - before < 24 << 20 or sanitized()


def test_client_that_leaves_a_stream_frees_its_worker(shared):
    for _ in range(40):
        answer = shared.get('/v1/log/export', stream=True)
        answer.raw.read(100)
        answer.close()
    assert shared.get('/v1/log?limit=1').status_code == 200
