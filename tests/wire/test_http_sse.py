"""Subscriptions as server-sent events."""
import json
import socket
import threading
import time

import requests

from conftest import wait_for


class Events:
    """Reads events in the background."""

    def __init__(self, daemon, path, headers=None):
        head = dict(headers or {}, Authorization='Bearer ' + daemon.key)
        self.answer = requests.get(daemon.url + path, headers=head, stream=True, timeout=30)
        assert self.answer.status_code == 200, self.answer.text
        assert self.answer.headers['Content-Type'].startswith('text/event-stream')
        self.socket = self.answer.raw.connection.sock
        self.found = []
        self.thread = threading.Thread(target=self._read, daemon=True)
        self.thread.start()

    def _read(self):
        event = {}
        try:
            for line in self.answer.iter_lines(chunk_size=1, decode_unicode=True):
                if line.startswith(':'):
                    continue
                if line == '':
                    if 'data' in event:
                        self.found.append((int(event['id']), json.loads(event['data'])))
                    event = {}
                else:
                    name, _, value = line.partition(': ')
                    event[name] = value
        except (requests.RequestException, AttributeError, ValueError):
            pass

    def close(self):
        """The reading thread holds a lock until bytes come: end the socket under it."""
        self.socket.shutdown(socket.SHUT_RDWR)
        self.thread.join(10)
        self.answer.close()


def append(daemon, stream, n, kind='Tick'):
    body = {'events': [{'type': kind, 'data': {'n': n}}]}
    answer = daemon.post('/v1/streams/' + stream, json=body)
    assert answer.status_code == 200, answer.text
    return answer.json()['position']


def numbers(events):
    return [record['data']['n'] for _, record in events.found]


def test_catches_up_then_goes_on_live_without_a_gap(daemon):
    for n in range(20):
        append(daemon, 'clock-1', n)
    events = Events(daemon, '/v1/subscribe?domain=clock')
    wait_for(lambda: len(events.found) >= 20, 60)
    for n in range(20, 40):
        append(daemon, 'clock-1', n)
    wait_for(lambda: len(events.found) >= 40, 60)
    assert numbers(events) == list(range(40))
    events.close()


def test_goes_on_after_the_last_event_id(daemon):
    positions = [append(daemon, 'clock-1', n) for n in range(10)]
    events = Events(daemon, '/v1/subscribe?domain=clock', {'Last-Event-ID': str(positions[4])})
    wait_for(lambda: len(events.found) >= 5, 60)
    assert numbers(events) == [5, 6, 7, 8, 9]
    events.close()


def test_filters_by_type(daemon):  # S4-47
    for n in range(10):
        append(daemon, 'clock-1', n, 'Even' if n % 2 == 0 else 'Odd')
    events = Events(daemon, '/v1/subscribe?type=Odd')
    wait_for(lambda: len(events.found) >= 5, 60)
    assert numbers(events) == [1, 3, 5, 7, 9]
    events.close()


def test_named_one_remembers_what_was_acknowledged(daemon):
    positions = [append(daemon, 'clock-1', n) for n in range(10)]
    events = Events(daemon, '/v1/subscriptions/mailer/events?domain=clock')
    wait_for(lambda: len(events.found) >= 10, 60)
    answer = daemon.post('/v1/subscriptions/mailer/ack', json={'position': positions[6]})
    assert answer.status_code in (200, 204), answer.text
    events.close()
    wait_for(lambda: daemon.metrics()['polystore_http_streams'] == 0, 60)
    events = Events(daemon, '/v1/subscriptions/mailer/events?domain=clock')
    wait_for(lambda: len(events.found) >= 3, 60)
    assert numbers(events) == [7, 8, 9]
    refused = daemon.request('DELETE', '/v1/subscriptions/mailer')
    assert refused.status_code == 412 and 'is open' in refused.json()['detail']
    events.close()
    wait_for(lambda: daemon.metrics()['polystore_http_streams'] == 0, 60)
    assert daemon.request('DELETE', '/v1/subscriptions/mailer').status_code == 204
    assert daemon.request('DELETE', '/v1/subscriptions/mailer').status_code == 404
    assert daemon.get('/v1/status').json()['subscriptions'] == []


def test_client_that_leaves_frees_its_thread(daemon):
    many = [Events(daemon, '/v1/subscribe') for _ in range(20)]
    wait_for(lambda: daemon.metrics()['polystore_http_streams'] == 20, 60)
    for events in many:
        events.close()
    wait_for(lambda: daemon.metrics()['polystore_http_streams'] == 0, 60)


def test_live_events_come_soon(daemon):
    events = Events(daemon, '/v1/subscribe?domain=clock')
    times = []
    for n in range(20):
        started = time.monotonic()
        append(daemon, 'clock-1', n)
        wait_for(lambda: len(events.found) > n, 60)
        times.append(time.monotonic() - started)
    assert min(times[1:]) < 0.5  # pushed, not polled once a second
    events.close()
