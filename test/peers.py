"""Mail servers that nobody here wrote, each in a directory of its own on loopback: Postfix and Exim. Both need root, as they change their user."""
import contextlib
import os
import pathlib
import pwd
import shutil
import signal
import socket
import subprocess
import tempfile
import time


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


def wait_port(port, seconds=15, greeting=b"220"):
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=2) as s:
            s.settimeout(5)
            if s.recv(3) == greeting:
                return
        time.sleep(0.1)
    raise RuntimeError(f"nobody answers on port {port}")


class Postfix:
    """Takes mail for `domain` into one mbox file, and sends everything else to `next_hop` (a port), if given."""

    def __init__(self, domain="remote.test", next_hop=None):
        self.directory = pathlib.Path(tempfile.mkdtemp(prefix="postrider-postfix-"))
        self.port = free_port()
        self.config, self.mail = self.directory / "etc", self.directory / "mail"
        for path in (self.config, self.mail, self.directory / "spool", self.directory / "data"):
            path.mkdir()
        owner = pwd.getpwnam("postfix")
        os.chown(self.directory / "data", owner.pw_uid, owner.pw_gid)
        os.chown(self.mail, owner.pw_uid, owner.pw_gid)
        self.directory.chmod(0o755)
        settings = {
            "compatibility_level": "3.6", "myhostname": "postfix.test", "mydestination": "", "mynetworks": "127.0.0.0/8", "inet_interfaces": "127.0.0.1",
            "inet_protocols": "ipv4", "queue_directory": self.directory / "spool", "data_directory": self.directory / "data",
            "maillog_file": self.directory / "log", "maillog_file_prefixes": self.directory, "virtual_mailbox_domains": domain,
            "virtual_mailbox_base": self.mail, "virtual_mailbox_maps": "static:box", "virtual_uid_maps": f"static:{owner.pw_uid}",
            "virtual_gid_maps": f"static:{owner.pw_gid}", "virtual_minimum_uid": "1", "virtual_alias_maps": "", "alias_maps": "", "alias_database": "",
            "smtp_dns_support_level": "disabled", "smtpd_peername_lookup": "no", "biff": "no", "minimal_backoff_time": "5s", "queue_run_delay": "5s",
            "smtp_tls_security_level": "may", "smtp_tls_fingerprint_digest": "sha256",
        }
        if next_hop:
            settings["relayhost"] = f"[127.0.0.1]:{next_hop}"
        else:  # refuses what is not its own while the sender is still on the line
            settings["smtpd_relay_restrictions"] = "permit_auth_destination, reject"
        (self.config / "main.cf").write_text("".join(f"{k} = {v}\n" for k, v in settings.items()))
        master = pathlib.Path("/usr/share/postfix/master.cf.dist")
        lines = [line for line in master.read_text().splitlines() if line and not line.startswith(("#", "smtp      inet", " "))]
        lines = [" ".join(f if i != 4 else "n" for i, f in enumerate(line.split())) for line in lines]  # nothing in a chroot
        lines.append(f"127.0.0.1:{self.port} inet n - n - - smtpd")
        (self.config / "master.cf").write_text("\n".join(lines) + "\n")

    def __enter__(self):
        subprocess.run(["postfix", "-c", self.config, "start"], check=True, capture_output=True, timeout=30)
        wait_port(self.port)
        return self

    def __exit__(self, *_):
        subprocess.run(["postfix", "-c", self.config, "stop"], capture_output=True, timeout=30)
        shutil.rmtree(self.directory, ignore_errors=True)

    def log(self):
        path = self.directory / "log"
        return path.read_text(errors="replace") if path.exists() else ""

    def received(self, word, seconds=20):
        """The mbox once it holds `word`, as bytes."""
        end, box = time.monotonic() + seconds, self.mail / "box"
        while time.monotonic() < end:
            if box.exists() and word.encode() in box.read_bytes():
                return box.read_bytes()
            time.sleep(0.1)
        raise AssertionError(f"{word} did not reach Postfix: {self.log()[-3000:]}")


class Exim:
    """Exim unpacked from its Debian package (it cannot be installed beside Postfix), in a mount namespace that knows its user.
    Takes mail for `domain` into one mbox file and routes the rest to `next_hop`."""

    def __init__(self, domain="exim.test", next_hop=None):
        self.directory = pathlib.Path(tempfile.mkdtemp(prefix="postrider-exim-"))
        self.directory.chmod(0o755)
        self.port, self.mail = free_port(), self.directory / "mail"
        subprocess.run(["apt-get", "download", "exim4-daemon-light"], cwd=self.directory, check=True, capture_output=True, timeout=120)
        package = next(self.directory.glob("exim4-daemon-light*.deb"))
        subprocess.run(["dpkg", "-x", package, self.directory / "root"], check=True, timeout=60)
        nobody = pwd.getpwnam("nobody")
        for name in ("spool", "mail", "log"):
            (self.directory / name).mkdir()
            os.chown(self.directory / name, nobody.pw_uid, nobody.pw_gid)
        (self.directory / "passwd").write_text(
            pathlib.Path("/etc/passwd").read_text() + f"Debian-exim:x:{nobody.pw_uid}:{nobody.pw_gid}::/nonexistent:/usr/sbin/nologin\n")
        (self.directory / "group").write_text(pathlib.Path("/etc/group").read_text() + f"Debian-exim:x:{nobody.pw_gid}:\n")
        route = f"""
out:
  driver = manualroute
  route_list = * 127.0.0.1::{next_hop}
  self = send
  transport = smtp
""" if next_hop else ""
        (self.directory / "exim.conf").write_text(f"""primary_hostname = exim.test
exim_user = {nobody.pw_uid}
exim_group = {nobody.pw_gid}
never_users =
spool_directory = {self.directory}/spool
log_file_path = {self.directory}/log/%slog
local_interfaces = 127.0.0.1
daemon_smtp_ports = {self.port}
acl_smtp_rcpt = all
host_lookup =
tls_advertise_hosts =
keep_environment =
begin acl
all:
  accept
begin routers
here:
  driver = accept
  domains = {domain}
  transport = file
{route}
begin transports
file:
  driver = appendfile
  file = {self.directory}/mail/box
  user = {nobody.pw_uid}
  group = {nobody.pw_gid}
smtp:
  driver = smtp
  allow_localhost
begin retry
* * F,1h,5s
""")
        self.process = None

    def __enter__(self):
        script = (f"mount --bind {self.directory}/passwd /etc/passwd && mount --bind {self.directory}/group /etc/group && "
                  f"mount -t overlay overlay -o lowerdir={self.directory}/root/usr/sbin:/usr/sbin /usr/sbin && exec /usr/sbin/exim4 -C {self.directory}/exim.conf -bdf -q5s")
        self.process = subprocess.Popen(["unshare", "-m", "sh", "-c", script], stdout=open(self.directory / "out", "w"), stderr=subprocess.STDOUT,
                                        start_new_session=True)
        try:
            wait_port(self.port)
        except RuntimeError as e:
            output = (self.directory / "out").read_text()
            self.__exit__()
            raise RuntimeError(f"{e}: {output}") from None
        return self

    def __exit__(self, *_):
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGTERM)
        self.process.wait(10)
        shutil.rmtree(self.directory, ignore_errors=True)

    received = Postfix.received

    def log(self):
        return "".join(p.read_text(errors="replace") for p in (self.directory / "log").glob("*"))
