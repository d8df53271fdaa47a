// Sends with nodemailer, reads and watches with imapflow. Arguments: a JSON object with host, ports, user, password, to, subject.
// Prints one JSON object with what was seen; any error ends it with status 1.
const { ImapFlow } = require('imapflow');
const nodemailer = require('nodemailer');

const options = JSON.parse(process.argv[2]);
const limit = setTimeout(() => { console.error('timed out'); process.exit(1); }, 40000);

async function main() {
  const seen = {};
  const client = new ImapFlow({
    host: options.host, port: options.imaps, secure: true, tls: { rejectUnauthorized: false },
    auth: { user: options.to, pass: options.password }, logger: false,
  });
  await client.connect();
  const lock = await client.getMailboxLock('INBOX');
  const before = client.mailbox.exists;
  client.idle(); // ends by itself with the next command
  const arrived = new Promise((resolve) => client.once('exists', resolve));

  const transport = nodemailer.createTransport({
    host: options.host, port: options.submission, secure: false, requireTLS: true, tls: { rejectUnauthorized: false },
    auth: { user: options.user, pass: options.password },
  });
  const attachment = Buffer.from(Array.from({ length: 70000 }, (_, i) => i % 251));
  const sent = await transport.sendMail({
    from: options.user, to: options.to, subject: options.subject, text: 'plain ✉ text', html: '<p>html ✉</p>',
    attachments: [{ filename: 'bytes.bin', content: attachment }],
  });
  seen.response = sent.response;
  const news = await arrived; // told while idling
  seen.grew = news.count - before;

  const uids = await client.search({ header: { subject: options.subject } }, { uid: true });
  seen.found = uids.length;
  const message = await client.fetchOne(uids[0], { envelope: true, bodyStructure: true, flags: true, size: true, source: true }, { uid: true });
  seen.subject = message.envelope.subject;
  seen.parts = message.bodyStructure.childNodes.map((n) => n.type);
  seen.sizeMatches = message.size === message.source.length;
  const file = await client.download(uids[0], '2', { uid: true });
  const chunks = [];
  for await (const chunk of file.content) chunks.push(chunk);
  seen.attachmentMatches = Buffer.concat(chunks).equals(attachment);
  await client.messageFlagsAdd(uids[0], ['\\Seen', 'Label'], { uid: true });
  seen.flags = [...(await client.fetchOne(uids[0], { flags: true }, { uid: true })).flags].sort();
  const moved = await client.messageMove(uids[0], 'Archive', { uid: true });
  seen.moved = moved.uidMap.size;
  lock.release();
  const list = await client.list();
  seen.special = list.filter((m) => m.specialUse).map((m) => m.specialUse).sort();
  const status = await client.status('Archive', { messages: true, highestModseq: true });
  seen.archive = status.messages;
  await client.logout();
  console.log(JSON.stringify(seen));
}

main().then(() => { clearTimeout(limit); process.exit(0); }, (error) => { console.error(error); process.exit(1); });
