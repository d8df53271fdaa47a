"""SMTP clients that nobody here wrote: swaks, curl, msmtp, Python's smtplib. Each message is read back and compared."""
import email
import email.policy
import smtplib
import ssl
import unittest
import uuid

from postrider import CAROLYN, ELINOR, PASSWORD, DemoTest, make_message, needs, run


def insecure():
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    return context


class SmtpClients(DemoTest):
    def arrived(self, subject, user=CAROLYN, mailbox="INBOX"):
        return self.demo.wait_for(subject, user, mailbox)

    @needs("swaks")
    def test_swaks_port_25(self):
        word = uuid.uuid4().hex
        done = run(["swaks", "--server", "127.0.0.1", "--port", self.demo.port("smtp"), "--from", ELINOR, "--to", CAROLYN, "--helo", "abcd.com",
                    "--header", f"Subject: {word}", "--body", "one\n.\n..two\nthree", "--pipeline"])
        self.assertIn("250", done.stdout)
        body = self.arrived(word)
        self.assertIn(b"one\r\n.\r\n..two\r\nthree\r\n", body)

    @needs("swaks")
    def test_swaks_submission_starttls_every_mechanism(self):
        for mechanism in ("PLAIN", "LOGIN"):
            with self.subTest(mechanism):
                word = uuid.uuid4().hex
                run(["swaks", "--server", "127.0.0.1", "--port", self.demo.port("submission"), "--tls", "--auth", mechanism, "--auth-user", ELINOR,
                     "--auth-password", PASSWORD, "--from", ELINOR, "--to", CAROLYN, "--header", f"Subject: {word}"])
                self.assertIn(b"ESMTPSA", self.arrived(word))

    @needs("swaks")
    def test_swaks_wrong_password_and_no_relay(self):
        done = run(["swaks", "--server", "127.0.0.1", "--port", self.demo.port("submission"), "--tls", "--auth", "PLAIN", "--auth-user", ELINOR,
                    "--auth-password", "wrong", "--from", ELINOR, "--to", CAROLYN], check=False)
        self.assertIn("535", done.stdout)
        done = run(["swaks", "--server", "127.0.0.1", "--port", self.demo.port("submission"), "--tls", "--from", ELINOR, "--to", CAROLYN], check=False)
        self.assertIn("530", done.stdout)
        done = run(["swaks", "--server", "127.0.0.1", "--port", self.demo.port("smtp"), "--from", "stranger@example.net", "--to", "other@example.org"],
                   check=False)
        self.assertRegex(done.stdout, r"<\*\* +55[04] ")

    @needs("swaks")
    def test_swaks_lmtp(self):
        word = uuid.uuid4().hex
        run(["swaks", "--protocol", "LMTP", "--server", "127.0.0.1", "--port", self.demo.port("lmtp"), "--from", ELINOR, "--to", f"{CAROLYN},{ELINOR}",
             "--header", f"Subject: {word}"])
        self.arrived(word, CAROLYN)
        self.arrived(word, ELINOR)

    @needs("curl")
    def test_curl_smtps_and_starttls(self):
        for scheme, service, extra in (("smtps", "submissions", []), ("smtp", "submission", ["--ssl-reqd"])):
            for mechanism in ("PLAIN", "LOGIN"):
                with self.subTest(f"{service} {mechanism}"):
                    word = uuid.uuid4().hex
                    path = self.work / "mail.txt"
                    path.write_text(f"From: {ELINOR}\r\nTo: {CAROLYN}\r\nSubject: {word}\r\n\r\ncurl\r\n")
                    run(["curl", "-sS", "-k", *extra, f"{scheme}://127.0.0.1:{self.demo.port(service)}", "--user", f"{ELINOR}:{PASSWORD}",
                         "--login-options", f"AUTH={mechanism}", "--mail-from", ELINOR, "--mail-rcpt", CAROLYN, "--upload-file", path])
                    got = email.message_from_bytes(self.arrived(word), policy=email.policy.default)
                    self.assertTrue(got["Date"] and got["Message-ID"], "the submission server adds what the client left out")

    @needs("gsasl")
    def test_gsasl_scram_by_smtp_and_imap(self):
        """GNU SASL's own client: SCRAM with channel binding over TLS and without it elsewhere. (Over TLS this client can bind and says so; a
        server that offers -PLUS must then refuse the mechanism without it, RFC 5802 6.)"""
        for service in ("smtp", "imap"):
            port = self.demo.port("submission" if service == "smtp" else "imap")
            for mechanism, tls in (("SCRAM-SHA-256", "--no-starttls"), ("SCRAM-SHA-1", "--no-starttls"), ("SCRAM-SHA-256-PLUS", "--starttls"),
                                   ("PLAIN", "--starttls")):
                with self.subTest(f"{service} {mechanism} {tls}"):
                    command = ["gsasl", f"--{service}", "--connect", f"127.0.0.1:{port}", "--mechanism", mechanism, tls, "--authentication-id", ELINOR,
                               f"--x509-ca-file={self.demo.directory}/tls/chain.pem"]
                    for password, good in ((PASSWORD, True), ("wrong", False)):
                        done = run([*command, "--password", password], text="", check=False)
                        self.assertEqual(done.returncode == 0, good, done.stdout + done.stderr)

    @needs("msmtp")
    def test_msmtp(self):
        word = uuid.uuid4().hex
        run(["msmtp", "--file=/dev/null", "--host=127.0.0.1", f"--port={self.demo.port('submission')}", "--tls=on", "--tls-starttls=on",
             "--tls-certcheck=off", "--auth=plain", f"--user={ELINOR}", f"--passwordeval=echo {PASSWORD}", f"--from={ELINOR}", "--", CAROLYN],
            text=f"To: {CAROLYN}\nBcc: hidden@xyz.com\nSubject: {word}\n\nfrom msmtp\n")
        self.assertIn(b"from msmtp", self.arrived(word))

    def test_smtplib(self):
        word = uuid.uuid4().hex
        message = make_message(word, body="gr\u00fc\u00dfe \u2709\n" * 300)
        with smtplib.SMTP("127.0.0.1", self.demo.port("submission"), timeout=20) as s:
            s.starttls(context=insecure())
            s.login(ELINOR, PASSWORD)
            s.send_message(message)
        got = email.message_from_bytes(self.arrived(word), policy=email.policy.default)
        self.assertEqual(got.get_content().replace("\r\n", "\n"), message.get_content())
        word = uuid.uuid4().hex
        with smtplib.SMTP_SSL("127.0.0.1", self.demo.port("submissions"), context=insecure(), timeout=20) as s:
            s.login(ELINOR, PASSWORD)
            s.send_message(make_message(word))
            with self.assertRaises(smtplib.SMTPSenderRefused):
                s.send_message(make_message(word), from_addr="carolyn@xyz.com")
        self.arrived(word)

    def test_smtplib_bcc_stays_hidden_and_sizes_are_limited(self):
        word = uuid.uuid4().hex
        with smtplib.SMTP_SSL("127.0.0.1", self.demo.port("submissions"), context=insecure(), timeout=20) as s:
            s.login(ELINOR, PASSWORD)
            s.sendmail(ELINOR, [CAROLYN], f"From: {ELINOR}\r\nTo: {CAROLYN}\r\nBcc: secret@xyz.com\r\nSubject: {word}\r\n\r\nx\r\n")
            limit = int(s.esmtp_features["size"])
            code, _ = s.docmd(f"MAIL FROM:<{ELINOR}> SIZE={limit + 1}")
            self.assertEqual(code, 552)
        self.assertNotIn(b"secret@", self.arrived(word))


if __name__ == "__main__":
    unittest.main()
