"""Who may ask for what."""
import time

import pytest

from conftest import wait_for


def problem(answer, status):
    assert answer.status_code == status, answer.text
    assert answer.headers['Content-Type'] == 'application/problem+json'
    body = answer.json()
    assert body['status'] == status and body['type'].startswith('urn:polystore:error:')
    return body


@pytest.mark.parametrize('header', [None, '', 'Bearer', 'Bearer ', 'Basic cGs6eA==', 'Bearer nonsense',
                                    'Bearer pk_', 'Bearer pk_' + 'a' * 300, 'Bearer pk_abc_def'])
def test_without_a_good_key_nothing_is_said(shared, header):
    for path in ('/v1/status', '/v1/records/notes/1', '/metrics', '/v1/nowhere'):
        answer = shared.get(path, key='', headers={} if header is None else {'Authorization': header})
        problem(answer, 401)
        assert answer.headers['WWW-Authenticate'].startswith('Bearer')


def test_live_and_ready_need_no_key(shared):
    assert shared.get('/live', key='').status_code == 200
    assert shared.get('/ready', key='').status_code == 200


def test_almost_right_key_is_refused(shared):
    last = 'a' if shared.key[-1] != 'a' else 'b'
    for key in (shared.key[:-1] + last, shared.key[:-1], shared.key + 'a'):
        problem(shared.get('/v1/status', key=key), 401)


def test_rights_of_a_key(shared):
    reader, _ = shared.make_key(label='reader', rights=['read'])
    assert shared.get('/v1/status', key=reader).status_code == 200
    assert shared.get('/v1/records/notes', key=reader).status_code == 200
    problem(shared.put('/v1/records/notes/1', key=reader, json={'text': 'x'}), 403)
    problem(shared.get('/v1/keys', key=reader), 403)
    problem(shared.post('/v1/sql', key=reader, json={'sql': 'SELECT 1'}), 403)


def test_revoked_key_ends_at_once(shared):
    key, body = shared.make_key(label='short', rights=['read'])
    assert shared.get('/v1/status', key=key).status_code == 200
    listed = shared.get('/v1/keys').json()['keys']
    mine = next(k for k in listed if k.get('label') == 'short')
    assert shared.request('DELETE', '/v1/keys/' + mine['id']).status_code in (200, 204)
    problem(shared.get('/v1/status', key=key), 401)


def test_expired_key_ends(shared):
    when = time.strftime('%Y-%m-%dT%H:%M:%SZ', time.gmtime(time.time() + 2))
    key, _ = shared.make_key(label='brief', rights=['read'], expires=when)
    assert shared.get('/v1/status', key=key).status_code == 200
    wait_for(lambda: shared.get('/v1/status', key=key).status_code == 401, 60)


def test_no_secret_is_stored(shared):
    key, _ = shared.make_key(label='hidden', rights=['read'])
    import os
    for folder, _, names in os.walk(shared.data):
        for name in names:
            if name == 'admin.key':
                continue
            with open(os.path.join(folder, name), 'rb') as file:
                content = file.read()
            assert key.encode() not in content and key.rsplit('_', 1)[1].encode() not in content


def test_tenants_see_their_own(shared):
    acme, _ = shared.make_key(label='acme', tenant='acme', rights=['read', 'write'])
    other, _ = shared.make_key(label='other', tenant='other', rights=['read', 'write'])
    row = {'title': 'Quarterly zebra report', 'body': 'zebra', 'state': 'open'}
    answer = shared.put('/v1/records/documents/t1', key=acme, json=row)
    assert answer.status_code == 200, answer.text
    token = {'Polystore-Token': answer.headers['Polystore-Token']}
    assert shared.get('/v1/records/documents/t1', key=acme).json()['row']['body'] == 'zebra'
    problem(shared.get('/v1/records/documents/t1', key=other), 404)
    assert len(shared.get('/v1/search?q=zebra', key=acme, headers=token).json()['hits']) == 1
    assert len(shared.get('/v1/search?q=zebra', key=other).json()['hits']) == 0
    problem(shared.get('/v1/search?q=zebra', key=other, headers=token), 400)  # another's token


def test_administrator_may_name_a_tenant(shared):
    row = {'title': 'x', 'body': 'y'}
    named = {'Polystore-Tenant': 'named'}
    assert shared.put('/v1/records/documents/n1', json=row, headers=named).status_code == 200
    assert shared.get('/v1/records/documents/n1', headers=named).status_code == 200
    problem(shared.get('/v1/records/documents/n1', headers={'Polystore-Tenant': 'foreign'}), 404)
    bound, _ = shared.make_key(label='bound', tenant='bound', rights=['read', 'write'])
    problem(shared.get('/v1/records/documents/n1', key=bound, headers=named), 403)
    assert shared.get('/v1/status', key=bound,
                      headers={'Polystore-Tenant': 'bound'}).status_code == 200
    reader, _ = shared.make_key(label='free', rights=['read'])
    problem(shared.get('/v1/status', key=reader, headers=named), 403)
    problem(shared.get('/v1/status', headers={'Polystore-Tenant': 'x' * 200}), 400)
