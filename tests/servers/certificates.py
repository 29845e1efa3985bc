"""Certificates for a server on loopback, made anew for each run by openssl.

A CA and a server certificate for `localhost` and 127.0.0.1; for the tests that are to fail, another
CA that signed nothing of ours, and a certificate of our CA for another host name.
"""
import os
import subprocess

CURVE = ['-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:prime256v1', '-nodes']


def openssl(*arguments):
    done = subprocess.run(['openssl', *arguments], capture_output=True, text=True,
                          stdin=subprocess.DEVNULL)
    if done.returncode != 0:
        raise RuntimeError('openssl %s: %s' % (arguments[0], done.stderr.strip()))


class Certificates:
    """Paths: ca, other_ca, and for each server certificate NAME: NAME.crt and NAME.key."""

    def __init__(self, folder):
        self.folder = folder
        os.makedirs(folder, exist_ok=True)
        self.ca = self._authority('ca')
        self.other_ca = self._authority('other-ca')
        self.server = self._signed('server', 'localhost', 'DNS:localhost,IP:127.0.0.1')
        self.wrong_name = self._signed('wrong-name', 'elsewhere.invalid', 'DNS:elsewhere.invalid')

    def path(self, name):
        return os.path.join(self.folder, name)

    def _authority(self, name):
        openssl('req', '-x509', *CURVE, '-days', '2', '-subj', '/CN=polystore test %s' % name,
                '-addext', 'keyUsage=critical,keyCertSign,cRLSign',
                '-keyout', self.path(name + '.key'), '-out', self.path(name + '.crt'))
        return self.path(name + '.crt')

    def _signed(self, name, common_name, names):
        """(certificate, key) of a server."""
        request, certificate, key = (self.path(name + end) for end in ('.csr', '.crt', '.key'))
        extensions = self.path(name + '.ext')
        openssl('req', '-new', *CURVE, '-subj', '/CN=' + common_name, '-keyout', key,
                '-out', request)
        with open(extensions, 'w') as file:
            file.write('subjectAltName=%s\nextendedKeyUsage=serverAuth\n' % names)
        openssl('x509', '-req', '-days', '2', '-in', request, '-CA', self.ca, '-CAkey',
                self.path('ca.key'), '-CAcreateserial', '-extfile', extensions,
                '-out', certificate)
        return certificate, key
