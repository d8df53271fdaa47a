"""The servers that `bench/compare` compares: Postrider as `postrider demo` runs it, and Postfix + Dovecot as their own documentation says they are
fast and durable. Each has a directory of its own on loopback and nothing of the system's configuration; the peers need root for their users."""
import contextlib
import os
import pathlib
import pwd
import shutil
import signal
import subprocess
import sys
import time

ROOT = pathlib.Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "test"))
from peers import Postfix, free_port, wait_port  # noqa: E402
from postrider import Demo, alive, descendants, memory  # noqa: E402

DOMAIN, PASSWORD = "xyz.com", "vegetables"
ACCOUNTS = 20  # user1 to user20: deliveries and reading
LARGE = ACCOUNTS + 1  # the account whose INBOX is large
IDLE_FIRST, IDLE_ACCOUNTS = ACCOUNTS + 2, 20  # idle connections and watchers
ALL_ACCOUNTS = IDLE_FIRST + IDLE_ACCOUNTS - 1
TICKS = os.sysconf("SC_CLK_TCK")


class Server:
    """name, ports (smtp, submissions, lmtp, imap, imaps, pop3; idle and idles: IMAP for idle connections), roots: the processes that everything else descends from."""
    cpu_from, cpu_to = 0.0, None

    def does(self, row):
        """Whether it can be measured with the row of this name."""
        return True

    def cpu(self):
        """Seconds of user and system time, of what runs and of what has ended."""
        total = 0
        for pid in self.pids():
            with contextlib.suppress(OSError):
                fields = pathlib.Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
                total += sum(int(f) for f in fields[11:15])
        return total / TICKS

    def cpu_begin(self):
        self.cpu_from, self.cpu_to = self.cpu(), None

    def cpu_end(self):
        """Ends what cpu_used() tells; what comes after it (checks) does not count."""
        if self.cpu_to is None:
            self.cpu_to = self.cpu()

    def cpu_used(self):
        return self.cpu_to - self.cpu_from

    def memory(self):
        """Proportional set size of all processes, in bytes."""
        return memory(self.pids())

    def pids(self):
        return [pid for root in self.roots() for pid in descendants(root)]


def make_certificate(directory):
    """key.pem and cert.pem, as our demo makes them."""
    subprocess.run(["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "30", "-subj",
                    "/CN=localhost", "-keyout", directory / "key.pem", "-out", directory / "cert.pem"], check=True, capture_output=True)


def end(processes):
    """Asks them to stop; what still runs below them after that is killed."""
    below = [pid for process in processes for pid in descendants(process.pid)]
    for process in processes:
        process.send_signal(signal.SIGTERM)
    for process in processes:
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(15)
    for pid in below:
        if alive(pid):
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)


class Postrider(Server):
    def __init__(self, accounts, relay=None, work=None):
        self.name, self.relay_port = "postrider", relay
        options = ["--domain", DOMAIN, "--accounts", str(accounts), "--password", PASSWORD]
        self.demo = Demo(*options, *(["--relay", f"127.0.0.1:{relay}"] if relay else []), directory=work / "postrider" if work else None)
        self.directory = self.demo.directory
        self.ports = {name: self.demo.port(name) for name in ("smtp", "submissions", "lmtp", "imap", "imaps", "pop3")}
        self.ports.update(idle=self.ports["imap"], idles=self.ports["imaps"])

    def roots(self):
        return [self.demo.process.pid]

    def kill(self):
        self.demo.kill()

    def restart(self):
        self.demo.start()

    def __enter__(self):
        self.demo.start()
        return self

    def __exit__(self, *_):
        self.demo.__exit__()


class PostfixDovecot(Server):
    """Postfix gives to Dovecot by LMTP over a socket file; everything that is not ours goes to `relay`."""

    def __init__(self, accounts, relay=None, form="maildir", work=None):
        self.name, self.relay_port = f"postfix+dovecot {form}", relay
        self.postfix = Postfix(domain=DOMAIN, next_hop=relay)
        self.directory = self.postfix.directory / "dovecot"
        self.directory.mkdir()
        self.owner = pwd.getpwnam("nobody")
        self.ports = {"smtp": self.postfix.port, **{name: free_port() for name in ("submissions", "lmtp", "imap", "imaps", "pop3", "idle", "idles")}}
        self.processes = []
        self.configure_postfix()
        self.configure_users(accounts)
        location = f"{form}:{self.directory}/mail/%n"
        self.configure_dovecot("main", location, ("imap", "imaps"), "service_count = 1000", self.other_protocols())
        self.configure_dovecot("idle", location, ("idle", "idles"), "service_count = 1", "protocols = imap\nimap_hibernate_timeout = 2s\n")

    def configure_postfix(self):
        """TUNING_README: nothing that asks others, enough processes, no chroot; virtual delivery by LMTP with kept connections."""
        with open(self.postfix.config / "main.cf", "a") as f:
            f.write(f"virtual_transport = lmtp:unix:{self.directory}/lmtp\nlmtp_destination_concurrency_limit = 20\n"
                    "lmtp_destination_recipient_limit = 1\ndefault_process_limit = 100\nsmtpd_client_connection_count_limit = 0\n"
                    "smtpd_client_connection_rate_limit = 0\nin_flow_delay = 0\nqmgr_message_active_limit = 40000\nmessage_size_limit = 52428800\n"
                    "virtual_mailbox_maps = static:all\nsmtpd_relay_restrictions = permit_mynetworks, reject\nsmtp_connection_cache_on_demand = yes\n"
                    f"smtpd_tls_cert_file = {self.directory}/cert.pem\nsmtpd_tls_key_file = {self.directory}/key.pem\n"
                    f"smtpd_sasl_type = dovecot\nsmtpd_sasl_path = {self.directory}/auth\n")
        with open(self.postfix.config / "master.cf", "a") as f:  # SASL_README: passwords are checked by Dovecot
            f.write(f"127.0.0.1:{self.ports['submissions']} inet n - n - - smtpd -o smtpd_tls_wrappermode=yes -o smtpd_sasl_auth_enable=yes"
                    " -o smtpd_relay_restrictions=permit_sasl_authenticated,reject\n")

    def configure_users(self, accounts):
        """The kernel gives a user 128 inotify instances, and Dovecot hibernates no connection without one: so idle accounts have users of their own.
        Our server remembers a verified password as a keyed digest. Here each login compares plain texts, which is cheaper still: no hash on either side."""
        (self.directory / "mail").mkdir()
        lines = []
        for number in range(1, accounts + 1):
            home, uid = self.directory / f"mail/user{number}", 40000 + number if number >= IDLE_FIRST else self.owner.pw_uid
            home.mkdir()
            os.chown(home, uid, self.owner.pw_gid)
            lines.append(f"user{number}@{DOMAIN}:{{PLAIN}}{PASSWORD}:{uid}:{self.owner.pw_gid}::{home}:\n")
        (self.directory / "users").write_text("".join(lines))
        make_certificate(self.directory)

    def other_protocols(self):
        return f"""protocols = imap pop3 lmtp
service pop3-login {{
  service_count = 0
  process_min_avail = 2
  client_limit = 12000
  inet_listener pop3 {{
    port = {self.ports['pop3']}
  }}
  inet_listener pop3s {{
    port = 0
  }}
}}
service pop3 {{
  service_count = 1000
  process_min_avail = 4
}}
service lmtp {{
  process_min_avail = 10
  unix_listener {self.directory}/lmtp {{
    mode = 0666
  }}
  inet_listener lmtp {{
    port = {self.ports['lmtp']}
  }}
}}
service auth {{
  unix_listener {self.directory}/auth {{
    mode = 0666
  }}
}}
"""

    def configure_dovecot(self, name, location, ports, reuse, more):
        """A process that served one system user cannot serve another: the Dovecot of the idle accounts uses each process once, the main one again and again.
        Only the one of the idle accounts hibernates: news that come in the moment of hibernation are told late."""
        d, uid = self.directory, self.owner
        (d / f"{name}.conf").write_text(f"""listen = 127.0.0.1
base_dir = {d}/run-{name}
state_dir = {d}/run-{name}
log_path = {d}/log
ssl = yes
ssl_cert = <{d}/cert.pem
ssl_key = <{d}/key.pem
disable_plaintext_auth = no
auth_mechanisms = plain login
mail_location = {location}
mail_uid = {uid.pw_uid}
mail_gid = {uid.pw_gid}
first_valid_uid = 1
first_valid_gid = 1
mail_fsync = optimized
mail_max_userip_connections = 20000
mdbox_rotate_size = 10M
maildir_very_dirty_syncs = yes
passdb {{
  driver = passwd-file
  args = {d}/users
}}
userdb {{
  driver = passwd-file
  args = {d}/users
}}
namespace inbox {{
  inbox = yes
}}
service imap-login {{
  service_count = 0
  process_min_avail = 2
  client_limit = 12000
  inet_listener imap {{
    port = {self.ports[ports[0]]}
  }}
  inet_listener imaps {{
    port = {self.ports[ports[1]]}
    ssl = yes
  }}
}}
service imap {{
  {reuse}
  process_min_avail = 4
  process_limit = 12000
  unix_listener imap-master {{
    user = dovecot
  }}
}}
service imap-hibernate {{
  client_limit = 12000
  unix_listener imap-hibernate {{
    mode = 0660
    group = dovecot
  }}
}}
service auth {{
  client_limit = 30000
}}
service anvil {{
  client_limit = 30000
}}
default_vsz_limit = 1G
default_process_limit = 12000
default_client_limit = 30000
{more}""")

    def roots(self):
        return [int((self.postfix.directory / "spool/pid/master.pid").read_text()), *(p.pid for p in self.processes)]

    def start_dovecot(self):
        for name in ("main", "idle"):
            self.processes.append(subprocess.Popen(["dovecot", "-F", "-c", self.directory / f"{name}.conf"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL))
        wait_port(self.ports["lmtp"])
        wait_port(self.ports["idle"], greeting=b"* O")

    def __enter__(self):
        try:
            self.start_dovecot()
            self.postfix.__enter__()
        except RuntimeError as e:
            log = self.log()
            self.__exit__()
            raise RuntimeError(f"{e}\n{log[-3000:]}") from None
        return self

    def kill(self):
        for pid in self.roots():
            os.kill(pid, signal.SIGSTOP)  # so that no process is born while they are listed
        pids = self.pids()
        for pid in pids:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        while self.processes:
            self.processes.pop().wait()
        while any(alive(pid) for pid in pids):
            time.sleep(0.01)

    def restart(self):
        self.start_dovecot()
        self.postfix.__enter__()

    def log(self):
        path = self.directory / "log"
        return (path.read_text(errors="replace") if path.exists() else "") + self.postfix.log()

    def __exit__(self, *_):
        end(self.processes)
        time.sleep(0.2)
        self.postfix.__exit__()
        shutil.rmtree(self.postfix.directory, ignore_errors=True)


def make(kind, accounts, relay=None, work=None):
    """kind: postrider, maildir, mdbox or cyrus."""
    if kind == "cyrus":
        from cyrus import Cyrus
        return Cyrus(accounts)
    return Postrider(accounts, relay, work) if kind == "postrider" else PostfixDovecot(accounts, relay, kind, work)
