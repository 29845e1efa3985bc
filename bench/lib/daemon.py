"""Our daemon for a measurement: a free port of its own, data in the run's folder."""
import http.client
import os
import signal
import socket
import subprocess
import time

from lib import harness


def free_port():
    with socket.socket() as probe:
        probe.bind(('127.0.0.1', 0))
        return probe.getsockname()[1]


class Daemon:
    def __init__(self, folder, config, cpu=None):
        self.folder = os.path.join(folder, 'daemon')
        os.makedirs(self.folder, exist_ok=True)
        self.port = free_port()
        self.cpu = cpu
        self.at_start = []  # requests
        self.config = os.path.join(self.folder, 'polystore.yaml')
        with open(self.config, 'w') as file:
            file.write('data: %s/data\nlisten: {http: "127.0.0.1:%d"}\n%s'
                       % (self.folder, self.port, config))

    def __enter__(self):
        pinned = ['taskset', '-c', str(self.cpu)] if self.cpu is not None else []
        self.begin = time.monotonic()
        with open(os.path.join(self.folder, 'log'), 'a') as log:
            self.process = subprocess.Popen(
                pinned + [os.path.join(harness.BUILD, 'src/server/polystored'), '--config',
                          self.config], stdout=log, stderr=log)
        while not self.ready():
            if self.process.poll() is not None:
                raise SystemExit('the daemon ended: see %s/log' % self.folder)
            time.sleep(0.005)
        self.start_seconds = time.monotonic() - self.begin
        for request in self.at_start:
            status, _, answer = self.ask(*request)
            if status >= 300:
                raise SystemExit('%s %s: %s' % (*request[:2], answer.decode()))
        return self

    def __exit__(self, *_):
        self.process.send_signal(signal.SIGTERM)
        self.process.wait()

    def ready(self):
        try:
            connection = http.client.HTTPConnection('127.0.0.1', self.port, timeout=5)
            connection.request('GET', '/ready')
            return connection.getresponse().status == 200
        except OSError:
            return False

    def key(self):
        with open(os.path.join(self.folder, 'data', 'admin.key')) as file:
            return file.read().strip()

    def request_text(self, method, path, body=None):
        """The request as bytes, for bench-http."""
        lines = ['%s %s HTTP/1.1' % (method, path), 'Host: 127.0.0.1:%d' % self.port,
                 'Authorization: Bearer ' + self.key()]
        if body is not None:
            lines += ['Content-Type: application/json', 'Content-Length: %d' % len(body)]
        return '\r\n'.join(lines) + '\r\n\r\n' + (body or '')

    def ask(self, method, path, body=None):
        """Status, headers and body of one request."""
        connection = http.client.HTTPConnection('127.0.0.1', self.port, timeout=30)
        headers = {'Authorization': 'Bearer ' + self.key()}
        if body is not None:
            headers['Content-Type'] = 'application/json'
        connection.request(method, path, body, headers)
        answer = connection.getresponse()
        return answer.status, answer.getheaders(), answer.read()

    def resident_mib(self):
        with open('/proc/%d/status' % self.process.pid) as file:
            for line in file:
                if line.startswith('VmRSS'):
                    return int(line.split()[1]) / 1024
        raise SystemExit('no VmRSS')

    def wake_ups(self):
        """Times that any of its threads has gone to sleep so far."""
        total = 0
        tasks = '/proc/%d/task' % self.process.pid
        for task in os.listdir(tasks):
            with open(os.path.join(tasks, task, 'status')) as file:
                for line in file:
                    if line.startswith('voluntary_ctxt_switches'):
                        total += int(line.split()[1])
        return total
