"""Cyrus IMAP as a peer of the rows that read and change mailboxes: it takes no mail from outside by itself. Needs root, as it changes its user."""
import os
import pathlib
import pwd
import shutil
import subprocess
import tempfile

from servers import DOMAIN, PASSWORD, Server, end, free_port, make_certificate, wait_port

ROWS = ("FETCH", "IMAP APPEND", "SELECT", "STORE", "COPY", "MOVE", "EXPUNGE", "SEARCH", "login")


class Cyrus(Server):
    """In the databases and formats of its defaults, with processes that wait for connections; passwords are compared as plain texts."""
    name = "cyrus"

    def __init__(self, accounts):
        self.directory = pathlib.Path(tempfile.mkdtemp(prefix="postrider-cyrus-"))
        self.directory.chmod(0o755)
        self.owner = pwd.getpwnam("cyrus")
        self.ports = {name: free_port() for name in ("imap", "imaps")}
        self.process = None
        self.configure(accounts)

    def does(self, row):
        return row.startswith(ROWS)

    def configure(self, accounts):
        d = self.directory
        for path in (d / "lib", d / "mail", d / "run", d / "run/socket"):
            path.mkdir()
        make_certificate(d)
        for number in range(1, accounts + 1):
            subprocess.run(["saslpasswd2", "-p", "-c", "-f", d / "sasldb2", "-u", DOMAIN, f"user{number}"], input=PASSWORD, text=True, check=True)
        (d / "imapd.conf").write_text(f"""configdirectory: {d}/lib
proc_path: {d}/run/proc
mboxname_lockpath: {d}/run/lock
defaultpartition: default
partition-default: {d}/mail
altnamespace: yes
unixhierarchysep: yes
virtdomains: userid
defaultdomain: localhost
servername: localhost
autocreate_quota: 0
allowplaintext: yes
sasl_mech_list: PLAIN LOGIN
sasl_pwcheck_method: auxprop
sasl_auxprop_plugin: sasldb
sasl_sasldb_path: {d}/sasldb2
tls_server_cert: {d}/cert.pem
tls_server_key: {d}/key.pem
""")
        (d / "cyrus.conf").write_text(f"""START {{
  recover cmd="ctl_cyrusdb -C {d}/imapd.conf -r"
}}
SERVICES {{
  imap cmd="imapd -C {d}/imapd.conf" listen="127.0.0.1:{self.ports['imap']}" prefork=4 maxchild=1000
  imaps cmd="imapd -s -C {d}/imapd.conf" listen="127.0.0.1:{self.ports['imaps']}" prefork=4 maxchild=1000
}}
EVENTS {{
}}
""")
        for path in (d, *d.rglob("*")):
            os.chown(path, self.owner.pw_uid, self.owner.pw_gid)

    def roots(self):
        return [self.process.pid]

    def __enter__(self):
        d = self.directory
        self.process = subprocess.Popen(["/usr/sbin/cyrmaster", "-D", "-C", d / "imapd.conf", "-M", d / "cyrus.conf", "-p", d / "pid"],
                                        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        try:
            wait_port(self.ports["imap"], greeting=b"* O")
        except RuntimeError as e:
            self.__exit__()
            raise RuntimeError(f"Cyrus: {e} (it says why to syslog only)") from None
        return self

    def __exit__(self, *_):
        end([self.process])
        shutil.rmtree(self.directory, ignore_errors=True)
