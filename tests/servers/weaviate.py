"""A Weaviate server: built once on a machine from its Go module. It keeps an API key's user only,
and vectors that come with their objects."""
import json
import os
import re
import secrets
import shutil
import socket
import subprocess
import urllib.error
import urllib.request

from harness import Failed, kept, wait_for

MODULE = 'github.com/weaviate/weaviate@v1.35.2'
# These listen on every address, and no setting changes that.
OPEN = ('adapters/handlers/grpc/server.go', 'adapters/handlers/rest/clusterapi/serve.go',
        'adapters/handlers/rest/clusterapi/grpc/server.go')


def make(path):
    source = path + '-source'
    try:
        with open(os.path.join(path, 'module.json'), 'w') as out:
            done = subprocess.run(['go', 'mod', 'download', '-json', MODULE], cwd=path, stdout=out,
                                  stdin=subprocess.DEVNULL)
        with open(out.name) as file:
            found = json.load(file)
        if done.returncode != 0 or 'Dir' not in found:
            raise RuntimeError('go: ' + found.get('Error', 'no module'))
        shutil.copytree(found['Dir'], source)
        kept.run(['chmod', '-R', 'u+w', source])
        for name in OPEN:
            close(os.path.join(source, name))
        kept.run(['go', 'build', '-trimpath', '-buildvcs=false', '-mod=readonly', '-ldflags',
                  '-s -w', '-o', os.path.join(path, 'weaviate'), './cmd/weaviate-server'],
                 cwd=source, env=dict(os.environ, CGO_ENABLED='0'))
    except FileNotFoundError as error:
        raise RuntimeError('no %s here' % error.filename) from None
    finally:
        shutil.rmtree(source, ignore_errors=True)


def close(path):
    with open(path) as file:
        text, count = re.subn(r'fmt\.Sprintf\(":%d"', 'fmt.Sprintf("127.0.0.1:%d"', file.read())
    if count == 0:
        raise RuntimeError('%s listens otherwise than known' % path)
    with open(path, 'w') as file:
        file.write(text)


def free(port):
    with socket.socket() as probe:
        try:
            probe.bind(('127.0.0.1', port))
            return True
        except OSError:
            return False


def with_next(harness):
    """A port whose next one is free, too: a node expects that of another, and it is its own other."""
    while True:
        port = harness.port()
        if free(port + 1):
            return port


class Weaviate:
    def __init__(self, harness):
        program = os.path.join(kept.once('weaviate', MODULE, make), 'weaviate')
        folder = harness.place('weaviate')
        self.harness, self.key = harness, secrets.token_hex(12)
        self.log = folder + '.log'
        self.port, self.grpc = harness.port(), harness.port()
        gossip, raft = with_next(harness), with_next(harness)
        self.pid = harness.spawn(
            [program, '--scheme', 'http', '--host', '127.0.0.1', '--port', str(self.port)],
            self.log, env=self._settings(folder, (gossip, gossip + 1, raft, raft + 1)), cwd=folder)
        wait_for(self._ready, 120, lambda: 'no start of weaviate:\n' + harness.text(self.log))

    def _settings(self, folder, ports):
        names = ('CLUSTER_GOSSIP_BIND_PORT', 'CLUSTER_DATA_BIND_PORT', 'RAFT_PORT',
                 'RAFT_INTERNAL_RPC_PORT')
        return dict(zip(names, map(str, ports)), **{
            'PERSISTENCE_DATA_PATH': os.path.join(folder, 'data'), 'GRPC_PORT': str(self.grpc),
            'DISABLE_TELEMETRY': 'true', 'GO_PROFILING_DISABLE': 'true', 'ENABLE_MODULES': '',
            'API_BASED_MODULES_DISABLED': 'true', 'DEFAULT_VECTORIZER_MODULE': 'none',
            'AUTHENTICATION_ANONYMOUS_ACCESS_ENABLED': 'false',
            'AUTHENTICATION_APIKEY_ENABLED': 'true',
            'AUTHENTICATION_APIKEY_ALLOWED_KEYS': self.key,
            'AUTHENTICATION_APIKEY_USERS': 'tester', 'AUTHORIZATION_ADMINLIST_ENABLED': 'true',
            'AUTHORIZATION_ADMINLIST_USERS': 'tester', 'AUTOSCHEMA_ENABLED': 'false',
            'CLUSTER_HOSTNAME': 'node1', 'CLUSTER_IN_LOCALHOST': 'true',
            'CLUSTER_BIND_ADDR': '127.0.0.1', 'CLUSTER_ADVERTISE_ADDR': '127.0.0.1',
            'RAFT_BOOTSTRAP_EXPECT': '1', 'RAFT_TIMEOUTS_MULTIPLIER': '1',
            'DISK_USE_READONLY_PERCENTAGE': '99', 'DISK_USE_WARNING_PERCENTAGE': '98',
            'LOG_LEVEL': 'warning', 'HOME': folder})

    def _ready(self):
        if self.harness.ended(self.pid) is not None:
            raise Failed('weaviate ended:\n' + self.harness.text(self.log))
        try:
            urllib.request.urlopen('http://127.0.0.1:%d/v1/.well-known/ready' % self.port,
                                   timeout=5).close()
            socket.create_connection(('127.0.0.1', self.grpc), 5).close()
            return True
        except (OSError, urllib.error.URLError):
            return False

    def environment(self):
        return {'POLY_TEST_WEAVIATE_URL': 'http://127.0.0.1:%d' % self.port,
                'POLY_TEST_WEAVIATE_GRPC': 'http://127.0.0.1:%d' % self.grpc,
                'POLY_TEST_WEAVIATE_KEY': self.key}


def start(harness):
    """One of our own, or the one that the environment names."""
    return None if 'POLY_TEST_WEAVIATE_URL' in os.environ else Weaviate(harness)
