"""kill -9 under 32 writers: what was acknowledged is there afterwards (S2-03, S2-25)."""
import random
import threading
import time

import requests

from conftest import wait_for

WRITERS, WRITES = 32, 50


def write(daemon, writer, acknowledged):
    session = requests.Session()
    session.headers['Authorization'] = 'Bearer ' + daemon.key
    for n in range(WRITES):
        body = {'operations': [
            {'op': 'append', 'stream': 'crash-%d' % writer, 'expected': n,
             'events': [{'type': 'Written', 'data': {'n': n}}]},
            {'op': 'put', 'domain': 'notes', 'key': '%d-%d' % (writer, n), 'row': {'text': 'n'}}]}
        try:
            answer = session.post(daemon.url + '/v1/transactions', json=body, timeout=20)
        except requests.RequestException:
            return
        if answer.status_code != 200:
            return
        acknowledged[writer] = n + 1


def check(daemon, writer, acknowledged):
    stream = daemon.get('/v1/streams/crash-%d?limit=1000' % writer)
    there = len(stream.json()['records']) if stream.status_code == 200 else 0
    assert there >= acknowledged, 'writer %d lost writes' % writer
    assert there <= acknowledged + 1
    for n in range(there):  # the event and the record, or neither
        assert daemon.get('/v1/records/notes/%d-%d' % (writer, n)).status_code == 200
    assert daemon.get('/v1/records/notes/%d-%d' % (writer, there)).status_code == 404


def test_kill_under_32_writers(make):
    daemon = make().start()
    acknowledged = [0] * WRITERS
    threads = [threading.Thread(target=write, args=(daemon, w, acknowledged))
               for w in range(WRITERS)]
    for thread in threads:
        thread.start()
    enough = random.randrange(WRITERS * WRITES // 4, WRITERS * WRITES * 3 // 4)
    wait_for(lambda: sum(acknowledged) >= enough, 60)
    daemon.kill()
    for thread in threads:
        thread.join()
    assert sum(acknowledged) >= enough
    started = time.monotonic()
    daemon.start(migrate=False)
    assert time.monotonic() - started < 10
    for writer in range(WRITERS):
        check(daemon, writer, acknowledged[writer])
    assert daemon.get('/v1/status').json()['state'] == 'ok'
    verified = daemon.post('/v1/log/verify')
    assert verified.status_code == 200 and not verified.json().get('bad_position'), verified.text
    daemon.stop()
