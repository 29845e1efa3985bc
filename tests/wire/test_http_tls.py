"""TLS, when there is a certificate and a key."""
import os
import shutil
import socket
import ssl
import subprocess

import pytest
import requests

pytestmark = pytest.mark.skipif(shutil.which('openssl') is None,
                                reason='openssl, which makes the certificate, is not installed')


@pytest.fixture
def pair(folder):
    paths = os.path.join(folder, 'tls.crt'), os.path.join(folder, 'tls.key')
    subprocess.run(['openssl', 'req', '-x509', '-newkey', 'ec', '-pkeyopt',
                    'ec_paramgen_curve:prime256v1', '-nodes', '-days', '2', '-subj',
                    '/CN=localhost', '-addext', 'subjectAltName=IP:127.0.0.1', '-out', paths[0],
                    '-keyout', paths[1]], check=True, capture_output=True)
    os.chmod(paths[1], 0o600)
    return paths


def config(certificate, key):
    return 'listen:\n  tls: {certificate: %s, key: %s}\n' % (certificate, key)


def test_round_trip(make, pair):
    daemon = make(config(*pair), scheme='https')
    daemon.start(listen='0.0.0.0:0', migrate=False)
    session = requests.Session()
    session.trust_env = False  # else a bundle from the environment replaces ours
    session.verify = pair[0]
    session.headers['Authorization'] = 'Bearer ' + daemon.key
    assert session.post(daemon.url + '/v1/migrations').status_code == 200
    for i in range(20):
        answer = session.put(daemon.url + '/v1/records/notes/%d' % i, json={'text': 'x' * 50_000})
        assert answer.status_code == 200, answer.text
    assert len(session.get(daemon.url + '/v1/log/export').text) > 500_000
    with pytest.raises(requests.RequestException):
        requests.get(daemon.url.replace('https', 'http') + '/live', timeout=5)
    with socket.create_connection(('127.0.0.1', daemon.port)) as plain:
        with ssl.create_default_context(cafile=pair[0]).wrap_socket(
                plain, server_hostname='127.0.0.1') as secure:
            assert secure.version() in ('TLSv1.2', 'TLSv1.3')
    session.close()
    daemon.stop()


def failure(daemon):
    result = daemon.run('--listen', '127.0.0.1:0')
    assert result.stderr.startswith('polystored: ') and result.stderr.count('\n') == 1
    return result.returncode, result.stderr


def test_files_are_checked(make, pair, folder):
    os.chmod(pair[1], 0o644)
    code, line = failure(make(config(*pair)))
    assert code == 6 and 'chmod' in line
    os.chmod(pair[1], 0o600)
    assert failure(make(config(pair[0], '/nowhere')))[0] == 2
    assert failure(make('listen:\n  tls: {certificate: %s}\n' % pair[0]))[0] == 2
    os.chmod(pair[0], 0o600)
    assert 'fit together' in failure(make(config(pair[0], pair[0])))[1]
    nonsense = os.path.join(folder, 'nonsense')
    with open(nonsense, 'w') as file:
        file.write('nonsense')
    assert 'PEM' in failure(make(config(nonsense, pair[1])))[1]
