"""TLS, when there is a certificate and a key."""
import os
import shutil
import signal
import socket
import ssl
import subprocess
import threading

import pytest
import requests

from conftest import wait_for

pytestmark = pytest.mark.skipif(shutil.which('openssl') is None,
                                reason='openssl, which makes the certificate, is not installed')


def make_pair(folder, name):
    paths = os.path.join(folder, name + '.crt'), os.path.join(folder, name + '.key')
    subprocess.run(['openssl', 'req', '-x509', '-newkey', 'ec', '-pkeyopt',
                    'ec_paramgen_curve:prime256v1', '-nodes', '-days', '2', '-subj',
                    '/CN=localhost', '-addext', 'subjectAltName=IP:127.0.0.1', '-out', paths[0],
                    '-keyout', paths[1]], check=True, capture_output=True)
    os.chmod(paths[1], 0o600)
    return paths


@pytest.fixture
def pair(folder):
    return make_pair(folder, 'tls')


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


def served(daemon):
    """The certificate that a new connection gets."""
    return ssl.get_server_certificate(('127.0.0.1', daemon.port), timeout=20).strip()


def text(path):
    with open(path) as file:
        return file.read().strip()


def hang_up(daemon, event, times=1):
    daemon.process.send_signal(signal.SIGHUP)
    wait_for(lambda: daemon.log().count('event=' + event) >= times, 60, daemon.log)


def test_a_new_certificate_is_taken_up_and_nobody_is_cut_off(make, pair, folder):
    daemon = make(config(*pair), scheme='https').start(migrate=False)
    session = requests.Session()
    session.trust_env = False
    session.verify = pair[0] + '.old'
    shutil.copy(pair[0], session.verify)
    session.headers['Authorization'] = 'Bearer ' + daemon.key
    assert session.post(daemon.url + '/v1/migrations').status_code == 200
    stream = requests.get(daemon.url + '/v1/subscribe', stream=True, verify=False,
                          headers=dict(session.headers))
    assert served(daemon) == text(pair[0])

    new = make_pair(folder, 'new')
    for source, target in zip(new, pair):
        os.replace(source, target)
    assert served(daemon) == text(session.verify)  # not before it is told
    hang_up(daemon, 'tls_reloaded')
    assert served(daemon) == text(pair[0]) != text(session.verify)
    # Both connections from before go on, though their certificate is gone.
    assert session.put(daemon.url + '/v1/records/notes/1', json={'text': 'x'}).status_code == 200
    assert b'id: ' in next(line for line in stream.iter_lines() if line)
    stream.close()
    session.close()
    daemon.stop()


def test_a_wrong_certificate_is_not_taken_up(make, pair, folder):
    daemon = make(config(*pair), scheme='https').start(migrate=False)
    good = text(pair[0])
    other = make_pair(folder, 'other')
    os.replace(other[0], pair[0])
    hang_up(daemon, 'tls_kept')
    assert 'fit together' in daemon.log() and served(daemon) == good
    os.unlink(pair[0])
    hang_up(daemon, 'tls_kept', 2)
    assert served(daemon) == good
    daemon.stop()


def test_handshakes_go_on_while_certificates_change(make, pair, folder):
    daemon = make(config(*pair), scheme='https').start(migrate=False)
    pairs = [make_pair(folder, 'a'), make_pair(folder, 'b')]
    known = {text(path) for path, _ in pairs + [pair]}
    done, seen, wrong = threading.Event(), [], []

    def connect():
        try:
            while not done.is_set():
                seen.append(served(daemon))
        except OSError as error:
            wrong.append(error)
    threads = [threading.Thread(target=connect) for _ in range(4)]
    for thread in threads:
        thread.start()
    for times in range(10):
        enough = len(seen) + 8
        wait_for(lambda: wrong or len(seen) >= enough, 60)
        for source, target in zip(pairs[times % 2], pair):
            shutil.copy(source, target)
        hang_up(daemon, 'tls_reloaded', times + 1)
    done.set()
    for thread in threads:
        thread.join()
    assert not wrong and set(seen) <= known and len(set(seen)) >= 2
    daemon.stop()


def test_hanging_up_without_tls_changes_nothing(daemon):
    daemon.process.send_signal(signal.SIGHUP)
    assert daemon.get('/live').status_code == 200
