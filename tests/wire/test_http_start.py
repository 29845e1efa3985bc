"""Starting, refusing to start, and stopping."""
import os
import re
import signal
import socket
import stat
import subprocess
import threading
import time

import requests

from conftest import POLYSTORED, sanitized, wait_for


def one_line(result, code):
    assert result.returncode == code, result.stderr
    lines = result.stderr.strip().split('\n')
    assert len(lines) == 1 and lines[0].startswith('polystored: '), result.stderr
    return lines[0]


def test_help_and_version_say_what_is_needed():
    run = lambda *a: subprocess.run([POLYSTORED, *a], capture_output=True, text=True)
    assert 'Example:' in run('--help').stdout
    assert re.match(r'polystored \d+\.\d+\.\d+\n', run('--version').stdout)
    assert run('--nonsense').returncode == 2
    assert run('nonsense').returncode == 2


def test_first_start_makes_one_administrators_key(make):
    daemon = make().start()
    path = os.path.join(daemon.data, 'admin.key')
    assert stat.S_IMODE(os.stat(path).st_mode) == 0o600
    assert daemon.get('/v1/keys').status_code == 200
    first = daemon.key
    daemon.stop()
    daemon.start(migrate=False)
    assert daemon.key == first
    assert len(daemon.get('/v1/keys').json()['keys']) == 1
    daemon.stop()


def test_state_survives_a_restart(make):  # S2-03
    daemon = make().start()
    assert daemon.put('/v1/records/notes/1', json={'text': 'kept'}).status_code == 200
    daemon.stop()
    daemon.start(migrate=False)
    assert daemon.get('/v1/records/notes/1').json()['row']['text'] == 'kept'
    daemon.stop()


def test_taken_port_is_one_clear_line(make, tmp_path):
    with socket.socket() as taken:
        taken.bind(('127.0.0.1', 0))
        taken.listen()
        address = '127.0.0.1:%d' % taken.getsockname()[1]
        line = one_line(make().run('--listen', address), 9)
    assert line == 'polystored: %s is taken by another process' % address


def test_second_daemon_on_the_same_data_is_refused(daemon):
    line = one_line(daemon.run('--listen', '127.0.0.1:0'), 9)
    assert 'daemon 127.0.0.1:%d' % daemon.port in line


def test_other_addresses_need_tls_or_a_word(make):
    line = one_line(make().run('--listen', '0.0.0.0:0'), 2)
    assert 'listen.insecure' in line
    daemon = make('listen: {insecure: true}\n').start(listen='0.0.0.0:0')
    assert daemon.get('/live').status_code == 200
    daemon.stop()


def test_bad_configuration_names_file_and_line(make):
    daemon = make('limits: {bodyy: 3}\n')
    line = one_line(daemon.run(), 2)
    assert 'polystore.yaml' in line and re.search(r'\d', line) and 'bodyy' in line
    assert one_line(daemon.run('--check'), 2) == line
    daemon = make()
    assert daemon.run('--check').returncode == 0
    assert not os.path.exists(daemon.data)
    assert one_line(daemon.run('--listen', 'nonsense'), 2)
    assert one_line(daemon.run('--listen', '::1:80'), 2)


def test_missing_configuration_file(make):
    daemon = make()
    os.unlink(daemon.config)
    assert 'polystore.yaml' in one_line(daemon.run(), 2)


def test_unwritable_data_folder(make):
    daemon = make()
    daemon.data = '/proc/nowhere'
    one_line(daemon.run(), 9)


def test_sigterm_finishes_what_is_under_way(make):
    daemon = make().start()
    stream = requests.get(daemon.url + '/v1/subscribe', stream=True, timeout=30,
                          headers={'Authorization': 'Bearer ' + daemon.key})
    lines = stream.iter_lines()
    results = []

    def write(me):
        session = requests.Session()
        session.headers['Authorization'] = 'Bearer ' + daemon.key
        try:
            for i in range(100000):
                answer = session.put(daemon.url + '/v1/records/notes/%d-%d' % (me, i),
                                     json={'text': 'x'})
                results.append(answer.status_code)
        except requests.ConnectionError:
            pass
    threads = [threading.Thread(target=write, args=(n,)) for n in range(4)]
    for thread in threads:
        thread.start()
    wait_for(lambda: len(results) > 100, 60)
    started = time.monotonic()
    daemon.stop()
    assert time.monotonic() - started < 5
    for thread in threads:
        thread.join()
    assert set(results) <= {200, 503}
    for _ in lines:
        pass  # it ends, and is not cut
    written = results.count(200)
    daemon.start(migrate=False)
    head = daemon.get('/v1/status').json()['head']
    assert head >= written
    daemon.stop()


def test_second_signal_ends_it_at_once(make):
    daemon = make().start()
    with socket.create_connection(('127.0.0.1', daemon.port)) as slow:
        slow.sendall(b'PUT /v1/records/notes/1 HTTP/1.1\r\nHost: x\r\nContent-Length: 50\r\n'
                     b'Authorization: Bearer %s\r\n\r\n' % daemon.key.encode())
        wait_for(lambda: daemon.metrics()['polystore_http_in_flight'] >= 2, 60)
        daemon.process.send_signal(signal.SIGTERM)
        wait_for(lambda: 'event=stop' in daemon.log(), 60)
        daemon.process.send_signal(signal.SIGTERM)
        assert daemon.process.wait(timeout=60) == 128 + signal.SIGTERM


def test_tells_the_service_manager(make, tmp_path):
    path = str(tmp_path / 'notify')
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(path)
        manager.settimeout(10)
        daemon = make().start(env={'NOTIFY_SOCKET': path})
        assert manager.recv(100) == b'READY=1'
        daemon.stop()
        assert manager.recv(100) == b'STOPPING=1'


def test_rests_when_nobody_asks(make):
    """At rest: at most 20 MiB resident and 10 wake-ups a second."""
    daemon = make().start()
    daemon.put('/v1/records/notes/1', json={'text': 'x'})
    time.sleep(1.5)
    folder = '/proc/%d' % daemon.process.pid

    def switches():
        total = 0
        for task in os.listdir(folder + '/task'):
            with open('%s/task/%s/status' % (folder, task)) as file:
                total += int(re.search(r'\nvoluntary_ctxt_switches:\s+(\d+)', file.read()).group(1))
        return total
    before = switches()
    time.sleep(3)
    assert switches() - before <= 30
    with open(folder + '/status') as file:
        resident = int(re.search(r'VmRSS:\s+(\d+)', file.read()).group(1))
    assert resident <= 20 * 1024 or sanitized()
    daemon.stop()


def test_logs_one_line_for_each_request_and_no_secrets(daemon):
    daemon.put('/v1/records/notes/1', json={'text': 'do not log me'},
               headers={'Polystore-Request-Id': 'my-own-id'})
    daemon.get('/v1/records/notes/a%0Alevel=error%22?limit=secret-query')
    wait_for(lambda: daemon.log().count('event=request') >= 3, 60)
    log = daemon.log()
    line = next(l for l in log.splitlines() if 'request=my-own-id' in l)
    for part in ('time=20', 'level=info', 'method=PUT', 'operation=records.put', 'status=200',
                 ' us=', ' bytes=', 'path=/v1/records/notes/1'):
        assert part in line
    assert 'do not log me' not in log and daemon.key not in log and 'secret-query' not in log
    assert all(l.startswith('time=') for l in log.splitlines())
