"""Vector search over HTTP: nearest records, conditions, tenants, tokens, wrong input. S3-39, S3-41..48,
S3-88"""
import base64
import json
import math
import struct

import pytest
import requests

from conftest import Daemon

MIGRATION = """
CREATE TABLE documents (id TEXT PRIMARY KEY, tenant_id TEXT NOT NULL, title TEXT, state TEXT,
                        size INTEGER, embedding BLOB) STRICT;
CREATE TABLE notes (id TEXT PRIMARY KEY, text TEXT, title_vector TEXT, text_vector TEXT) STRICT;
"""
DOMAINS = """
migrations: migrations
domains:
  documents:
    table: documents
    tenant: tenant_id
    search: {fields: [title], filters: [state]}
    vector: {field: embedding, dimensions: 3, filters: [state, size], model: small-1}
  notes:
    table: notes
    tenant: none
    vectors:
      title: {field: title_vector, dimensions: 2, metric: l2}
      text: {field: text_vector, dimensions: 4, metric: inner}
"""
ROWS = {  # key: (title, state, size, vector)
    'a': ('red apples', 'open', 1, [1, 0, 0]),
    'b': ('red pears', 'open', 5, [0.8, 0.6, 0]),
    'c': ('green apples', 'closed', 9, [0, 1, 0]),
    'd': ('blue plums', None, 2, [-1, 0, 0]),
    'e': ('no vector', 'open', 3, None),
}


@pytest.fixture(scope='module')
def place(tmp_path_factory):
    folder = str(tmp_path_factory.mktemp('vectors'))
    daemon = Daemon(folder, domains=DOMAINS)
    with open(folder + '/migrations/0001_init.sql', 'w') as file:
        file.write(MIGRATION)
    with daemon as one:
        one.start()
        one.acme = one.make_key(label='acme', tenant='acme', rights=['read', 'write'])[0]
        one.other = one.make_key(label='other', tenant='other', rights=['read', 'write'])[0]
        for key, (title, state, size, vector) in ROWS.items():
            row = {'title': title, 'state': state, 'size': size, 'embedding': vector}
            assert one.put('/v1/records/documents/' + key, key=one.acme, json=row).status_code == 200
        mine = {'title': 'of another', 'state': 'open', 'size': 1, 'embedding': [1, 0, 0]}
        assert one.put('/v1/records/documents/x', key=one.other, json=mine).status_code == 200
        yield one
        one.stop()


def search(place, key=None, code=200, **query):
    query.setdefault('domain', 'documents')
    answer = place.post('/v1/vectors/search', key=place.acme if key is None else key, json=query)
    assert answer.status_code == code, answer.text
    return answer.json()


def keys(answer):
    return [match['key'] for match in answer['matches']]


def test_nearest_first(place):
    answer = search(place, vector=[2, 0, 0])
    assert keys(answer) == ['a', 'b', 'c', 'd']
    for match, similarity in zip(answer['matches'], [1, 0.8, 0, -1]):
        assert math.isclose(match['similarity'], similarity, abs_tol=1e-6)
        assert math.isclose(match['distance'], 1 - similarity, abs_tol=1e-6)
        assert match['score'] == match['similarity'] and match['domain'] == 'documents'
        assert set(match) == {'domain', 'key', 'version', 'similarity', 'distance', 'score'}
    version = place.get('/v1/records/documents/b', key=place.acme).json()['version']
    assert answer['matches'][1]['version'] == version
    assert set(answer) == {'generation', 'matches'}


def test_pages_and_threshold(place):
    assert keys(search(place, vector=[1, 0, 0], limit=2)) == ['a', 'b']
    assert keys(search(place, vector=[1, 0, 0], limit=2, offset=1)) == ['b', 'c']
    assert keys(search(place, vector=[1, 0, 0], threshold=0.7)) == ['a', 'b']
    assert keys(search(place, vector=[1, 0, 0], threshold=1.5)) == []


def test_forms_of_a_vector(place):
    packed = base64.b64encode(struct.pack('<3f', 0, 1, 0)).decode()
    assert keys(search(place, vector_base64=packed, limit=2)) == ['c', 'b']
    assert keys(search(place, vector=[0, 1e-3, 0.0], limit=2)) == ['c', 'b']
    assert keys(search(place, like='b')) == ['a', 'c', 'd']  # itself it is not


def test_rows_vectors_and_plan(place):
    answer = search(place, vector=[1, 0, 0], limit=2, rows=True, vectors=True, explain=True,
                    exact=True)
    first, second = answer['matches']
    assert first['row']['title'] == 'red apples' and first['row']['embedding'] == [1, 0, 0]
    assert [round(number, 6) for number in second['vector']] == [0.8, 0.6, 0]
    assert answer['plan'].endswith('exact') and answer['visited'] >= 4  # the tenant is a filter


@pytest.mark.parametrize('where,wanted', [
    ({'state': 'open'}, ['a', 'b']),
    ({'size': {'>=': 2, '<': 9}}, ['b', 'd']),
    ({'or': [{'state': 'closed'}, {'state': {'null': True}}]}, ['c', 'd']),
    ({'not': {'state': 'open'}, 'size': {'in': [1, 2, 9]}}, ['c']),
    ({'state': 'gone'}, []),
])
def test_conditions(place, where, wanted):
    assert sorted(keys(search(place, vector=[1, 0, 0], where=where))) == wanted


def test_groups(place):
    assert keys(search(place, vector=[1, 0, 0], group='state')) == ['a', 'c', 'd']
    assert keys(search(place, vector=[1, 0, 0], group='state', group_limit=2)) == list('abcd')


def test_hybrid(place):
    both = search(place, vector=[0, 1, 0], hybrid={'query': 'apples'}, limit=5)
    assert keys(both)[0] == 'c'  # nearest, and has the word
    assert 'a' in keys(both)
    weighted = search(place, vector=[0, 1, 0],
                      hybrid={'query': 'plums', 'fusion': 'weighted', 'weight': 0.01})
    assert keys(weighted)[0] == 'd'
    assert all(match['score'] >= 0 for match in weighted['matches'])


def test_batch(place):
    body = {'searches': [{'domain': 'documents', 'vector': [1, 0, 0], 'limit': 1},
                         {'domain': 'documents', 'like': 'd', 'limit': 1, 'explain': True},
                         {'domain': 'documents', 'vector': [0, 1, 0], 'where': {'size': 99}}]}
    answer = place.post('/v1/vectors/search/batch', key=place.acme, json=body)
    assert answer.status_code == 200, answer.text
    answers = answer.json()['answers']
    assert [keys(one) for one in answers] == [['a'], ['c'], []]
    assert 'plan' in answers[1] and 'plan' not in answers[0]
    assert len({one['generation'] for one in answers}) == 1
    body['searches'][1]['like'] = 'nobody'
    wrong = place.post('/v1/vectors/search/batch', key=place.acme, json=body)
    assert wrong.status_code == 404 and 'query 2 of 3: ' in wrong.json()['detail']
    many = {'searches': [{'domain': 'documents', 'vector': [1, 0, 0]}] * 257}
    assert place.post('/v1/vectors/search/batch', key=place.acme, json=many).status_code == 429


def test_a_write_is_seen_with_its_token_and_a_change_moves_it(place):
    path = '/v1/records/documents/moves'
    for vector, before in (([0, 0, 1], 'moves'), ([0, 1e-3, 1], 'moves')):
        done = place.put(path, key=place.acme, json={'title': 't', 'embedding': vector})
        found = place.post('/v1/vectors/search', key=place.acme,
                           headers={'Polystore-Token': done.json()['token']},
                           json={'domain': 'documents', 'vector': [0, 0, 1], 'limit': 1})
        assert found.status_code == 200 and keys(found.json()) == [before]
        assert int(found.headers['Polystore-Applied']) >= done.json()['position']
    assert place.request('PATCH', path, key=place.acme,
                         json={'embedding': None}).status_code == 200
    assert 'moves' not in keys(search(place, vector=[0, 0, 1]))
    assert place.request('DELETE', path, key=place.acme).status_code == 200
    assert 'moves' not in keys(search(place, vector=[0, 0, 1], exact=True))


def test_several_vectors_of_a_record(place):
    for key, title, text in (('n1', [1, 1], [1, 0, 0, 0]), ('n2', [4, 5], [3, 0, 0, 0])):
        row = {'text': key, 'title_vector': title, 'text_vector': text}
        assert place.put('/v1/records/notes/' + key, json=row).status_code == 200
    near = search(place, place.key, domain='notes', name='title', vector=[1, 1])
    assert keys(near) == ['n1', 'n2'] and near['matches'][1]['distance'] == 5
    assert math.isclose(near['matches'][1]['similarity'], 1 / 6, rel_tol=1e-6)
    inner = search(place, place.key, domain='notes', name='text', vector=[1, 0, 0, 0])
    assert keys(inner) == ['n2', 'n1'] and inner['matches'][0]['similarity'] == 3
    search(place, place.key, code=400, domain='notes', vector=[1, 1])
    search(place, place.key, code=400, domain='notes', name='nothing', vector=[1, 1])


# --- tenants ---

def test_tenants_do_not_meet(place):
    assert 'x' in keys(search(place, place.other, vector=[1, 0, 0]))
    assert 'x' not in keys(search(place, vector=[1, 0, 0], limit=1000, exact=True))
    search(place, code=404, like='x')  # of another: as if it were not there
    without = place.make_key(label='none', rights=['read'])[0]
    answer = place.post('/v1/vectors/search', key=without,
                        json={'domain': 'documents', 'vector': [1, 0, 0]})
    assert answer.status_code in (400, 403), answer.text
    assert '"key"' not in answer.text


def test_statistics_are_the_administrators(place):
    assert place.get('/v1/vectors', key=place.acme).status_code == 403
    indexes = place.get('/v1/vectors').json()['indexes']
    assert [(one['domain'], one['name']) for one in indexes] == [
        ('documents', ''), ('notes', 'title'), ('notes', 'text')]
    one = indexes[0]
    assert (one['dimensions'], one['metric'], one['element'], one['m'], one['ef_construction'],
            one['model']) == (3, 'cosine', 'f32', 16, 64, 'small-1')
    assert one['vectors'] >= 5 and one['memory_bytes'] > 0


def test_metrics(place):
    name = '{domain="documents",name=""}'
    before = place.metrics()['polystore_vector_searches_total' + name]
    search(place, vector=[1, 0, 0])
    after = place.metrics()
    assert after['polystore_vector_searches_total' + name] == before + 1
    assert after['polystore_vector_visited_total' + name] > 0
    assert after['polystore_vector_memory_bytes' + name] > 0
    assert after['polystore_http_request_seconds_count{operation="vectors.search"}'] > 0
    tenants = requests.get(place.url + '/metrics', timeout=30,
                           headers={'Authorization': 'Bearer ' + place.acme})
    assert tenants.status_code == 200 and 'polystore_vector_vectors' not in tenants.text


# --- wrong input ---

@pytest.mark.parametrize('query,says', [
    ({'domain': 'documents'}, "exactly one of 'vector', 'vector_base64', 'like' and 'text'"),
    ({'vector': [1, 0, 0]}, "exactly one of 'domain' and 'domains'"),
    ({'domain': 'documents', 'vector': [1, 0]}, '3'),
    ({'domain': 'documents', 'vector': [0, 0, 0]}, 'zero'),
    ({'domain': 'documents', 'vector': [1, 'x', 0]}, "item 1 is not a number"),
    ({'domain': 'documents', 'vector_base64': '!'}, 'base64'),
    ({'domain': 'documents', 'vector_base64': base64.b64encode(
        struct.pack('<3f', 1, math.nan, 0)).decode()}, 'finite'),
    ({'domain': 'documents', 'vector': [1, 0, 0], 'k': 3}, "unknown member 'k'"),
    ({'domain': 'documents', 'vector': [1, 0, 0], 'limit': 1001}, '1 to 1000'),
    ({'domain': 'documents', 'vector': [1, 0, 0], 'offset': 10001}, '0 to 10000'),
    ({'domain': 'documents', 'vector': [1, 0, 0], 'model': 'large-2'}, 'small-1'),
    ({'domain': 'documents', 'vector': [1, 0, 0], 'where': {'title': 'x'}}, 'title'),
    ({'domain': 'documents', 'vector': [1, 0, 0], 'where': {'size': {'~': 1}}}, '~'),
    ({'domain': 'documents', 'vector': [1, 0, 0], 'group': 'title'}, 'title'),
    ({'domains': ['documents', 'notes'], 'vector': [1, 0, 0]}, 'notes'),
])
def test_wrong_input(place, query, says):
    answer = place.post('/v1/vectors/search', key=place.acme, json=query)
    assert answer.status_code == 400, answer.text
    assert answer.headers['Content-Type'] == 'application/problem+json'
    assert says in answer.json()['detail'], answer.text


def test_bodies_that_are_no_json(place):
    for body in ('', '[]', '{"vector":[1,2}', '{"vector":[' + '1,' * 100, 'x'):
        answer = place.post('/v1/vectors/search', key=place.acme, data=body)
        assert answer.status_code == 400, (body, answer.text)
    place_of = place.post('/v1/vectors/search', key=place.acme,
                          data='{"domain":"documents","vector":[1,0,0],\n"limit":}')
    assert place_of.json()['position'] == len('{"domain":"documents","vector":[1,0,0],\n"limit":')
    search(place, code=404, domain='nothing', vector=[1, 0, 0])
    assert place.get('/v1/vectors/search', key=place.acme).status_code == 405


def test_a_vector_that_is_none_is_not_written(place):
    for vector in ([1, 0], [0, 0, 0], 'x', [1, None, 0], 7):
        answer = place.put('/v1/records/documents/wrong', key=place.acme,
                           json={'embedding': vector})
        assert answer.status_code == 400, (vector, answer.text)
    assert place.get('/v1/records/documents/wrong', key=place.acme).status_code == 404


def test_numbers_come_back_short_and_exact(place):
    vector = [0.1, -1e-12, 1 / 3]
    assert place.put('/v1/records/documents/short', key=place.acme,
                     json={'embedding': vector}).status_code == 200
    text = place.post('/v1/vectors/search', key=place.acme, json={
        'domain': 'documents', 'like': 'a', 'rows': True, 'limit': 1000}).text
    row = next(match['row'] for match in json.loads(text)['matches'] if match['key'] == 'short')
    assert [struct.unpack('f', struct.pack('f', number))[0] for number in row['embedding']] == \
        [struct.unpack('f', struct.pack('f', number))[0] for number in vector]
    assert '0.33333334' in text and '[0.1,' in text
    assert place.request('DELETE', '/v1/records/documents/short', key=place.acme).status_code == 200
