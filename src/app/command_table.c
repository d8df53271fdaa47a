/* The commands: the only place that knows that one exists. */
#include "app/command.h"

static const struct command_option password_options[] = {
    {"name", "NAME", "display name of the account"},
    {"quota", "SIZE", "bytes it may keep, for example 2G"},
    {"quota-messages", "N", "messages it may keep"},
    {"password-stdin", NULL, "read the password from standard input, one line"},
    {"hash", "HASH", "take over a password hash of another server instead"},
    {"no-password", NULL, "no login by password"},
    {0},
};
static const struct command_option new_password_options[] = {
    {"password-stdin", NULL, "read the password from standard input, one line"},
    {"hash", "HASH", "take over a password hash of another server instead"},
    {"none", NULL, "no login by password any more"},
    {0},
};
static const struct command_option quota_options[] = {
    {"quota", "SIZE", "bytes it may keep, for example 2G; left out: no limit"},
    {"quota-messages", "N", "messages it may keep; left out: no limit"},
    {0},
};
static const struct command_option yes_options[] = {{"yes", NULL, "really"}, {0}};
static const struct command_option domain_options[] = {
    {"default", NULL, "completes login names and addresses without a domain"},
    {"catch-all", "ADDRESS", "gets mail for names that do not exist"},
    {"alias-of", "DOMAIN", "has the accounts and aliases of that domain"},
    {0},
};
static const struct command_option queue_list_options[] = {
    {"sender", "TEXT", "only entries whose sender contains it"},
    {"recipient", "TEXT", "only entries of which a recipient contains it"},
    {"domain", "DOMAIN", "only entries for that domain"},
    {"held", NULL, "only held entries"},
    {"limit", "N", "at most so many; default 10000"},
    {0},
};
static const struct command_option queue_options[] = {
    {"sender", "TEXT", "only entries whose sender contains it"},
    {"recipient", "TEXT", "only entries of which a recipient contains it"},
    {"domain", "DOMAIN", "only entries for that domain"},
    {"held", NULL, "only held entries"},
    {"all", NULL, "every entry"},
    {0},
};
static const struct command_option queue_show_options[] = {{"message", NULL, "show the message too (its first 64 KB)"}, {0}};
static const struct command_option demo_options[] = {
    {"port-base", "N", "ports are N + 25, 587, ...; default 20000"},
    {"host", "ADDRESS", "listen here; default 127.0.0.1"},
    {"domain", "D", "make user1@D, user2@D, ... instead of elinor@abcd.com and carolyn@xyz.com"},
    {"accounts", "N", "how many of them"},
    {"password", "P", "of all accounts; default vegetables"},
    {"engine", "NAME", "rocksdb (default) or memory"},
    {"relay", "HOST:PORT", "send all mail for other domains there"},
    {"hostname", "NAME", "our name in greetings; default mail.DOMAIN"},
    {0},
};

static const struct command_option serve_options[] = {{"no-supervisor", NULL, "one process without sandbox, for debuggers"}, {0}};
static const struct command_option import_options[] = {
    {"mailbox", "NAME", "into this mailbox (a Maildir's folders go below it); default INBOX and the folders' names"},
    {"format", "NAME", "of an mbox: mboxrd (default), mboxo or mboxcl"},
    {"received-date", NULL, "Maildir: date of the newest Received field instead of the file's"},
    {"again", NULL, "import messages that are there already once more"},
    {0},
};
static const struct command_option export_options[] = {
    {"mailbox", "NAME", "only this one; an mbox is then the file PATH itself"},
    {"format", "NAME", "mbox (default) or maildir"},
    {0},
};
static const struct command_option imap_options[] = {{"user", "ADDRESS", "whose mail"}, {0}};
static const struct command_option fsck_options[] = {
    {"repair", NULL, "mend what can be derived from other records"},
    {"blobs", NULL, "read every message and compare its digest"},
    {0},
};
static const struct command_option setup_options[] = {
    {"data", "DIR", "where mail is kept; default /var/lib/postrider"},
    {"password-stdin", NULL, "read the account's password from standard input, one line"},
    {0},
};
static const struct command_option settings_options[] = {{"markdown", NULL, "as a Markdown table"}, {0}};

const struct command_option command_common[] = {
    {"dir", "DIR", "work with the system in this directory (of a demo)"},
    {"config", "FILE", "configuration file; default /etc/postrider/postrider.conf"},
    {"json", NULL, "print JSON, for programs"},
    {"help", NULL, "tell about the command"},
    {0},
};

const struct command command_table[] = {
    {"demo", "", 0, 0, "Runs the whole system on loopback, to try it", demo_options, cmd_demo,
     "The directory is kept: a second start finds the mail of the first. Without --domain there are the accounts\n"
     "elinor@abcd.com and carolyn@xyz.com, both with the password vegetables. Port 25 takes mail that names a local\n"
     "sender. With --json one line of JSON is printed when everything is ready."},
    {"serve", "", 0, 0, "Runs the server of the configuration", serve_options, cmd_serve,
     "SIGTERM stops it, SIGHUP reads configuration and certificates again."},
    {"setup", "HOST ADDRESS", 2, 2, "Writes a configuration for production and tells what to publish", setup_options, cmd_setup,
     "HOST is this machine's name as the world looks it up, ADDRESS the first account; its domain becomes the default one.\n"
     "Nothing that exists is overwritten."},
    {"check", "", 0, 0, "Checks the configuration", NULL, cmd_check, NULL},
    {"status", "", 0, 0, "Shows how the server is; exit code 3 if none runs", NULL, cmd_status, NULL},
    {"reload", "", 0, 0, "Has the server read configuration and certificates again", NULL, cmd_reload, NULL},
    {"stop", "", 0, 0, "Stops the server", NULL, cmd_stop, NULL},
    {"account add", "ADDRESS", 1, 1, "Makes an account", password_options, cmd_account_add,
     "The password is asked for on the terminal, unless an option gives it."},
    {"account list", "[DOMAIN]", 0, 1, "Lists accounts", NULL, cmd_account_list, NULL},
    {"account show", "ADDRESS", 1, 1, "Shows one account", NULL, cmd_account_show, NULL},
    {"account password", "ADDRESS", 1, 1, "Changes a password", new_password_options, cmd_account_password, NULL},
    {"account suspend", "ADDRESS", 1, 1, "Stops logins and puts off mail (450); nothing is lost", NULL, cmd_account_suspend, NULL},
    {"account resume", "ADDRESS", 1, 1, "Makes a suspended or closed account work again", NULL, cmd_account_resume, NULL},
    {"account close", "ADDRESS", 1, 1, "Stops logins and refuses mail (550); the mail is kept", NULL, cmd_account_close, NULL},
    {"account remove", "ADDRESS", 1, 1, "Deletes an account and all its mail", yes_options, cmd_account_remove, NULL},
    {"account quota", "ADDRESS", 1, 1, "Sets or lifts limits", quota_options, cmd_account_quota, NULL},
    {"account identity", "ADDRESS [OTHER...]", 1, COMMAND_ARGS_MAX, "Sets the further addresses (or @domains) it may send as", NULL,
     cmd_account_identity, NULL},
    {"alias add", "ADDRESS TARGET...", 2, COMMAND_ARGS_MAX, "Makes or changes an alias", NULL, cmd_alias_add, NULL},
    {"alias list", "[DOMAIN]", 0, 1, "Lists aliases", NULL, cmd_alias_list, NULL},
    {"alias remove", "ADDRESS", 1, 1, "Deletes an alias", NULL, cmd_alias_remove, NULL},
    {"domain add", "NAME", 1, 1, "Makes or changes a domain of ours", domain_options, cmd_domain_add, NULL},
    {"domain list", "", 0, 0, "Lists our domains", NULL, cmd_domain_list, NULL},
    {"domain remove", "NAME", 1, 1, "Gives a domain up that has no accounts", NULL, cmd_domain_remove, NULL},
    {"queue list", "", 0, 0, "Lists what waits to be delivered", queue_list_options, cmd_queue_list, NULL},
    {"queue show", "ID", 1, 1, "Shows one entry or all of a message", queue_show_options, cmd_queue_show, NULL},
    {"queue retry", "[ID]", 0, 1, "Tries to deliver now", queue_options, cmd_queue_retry, NULL},
    {"queue hold", "[ID]", 0, 1, "Keeps entries back", queue_options, cmd_queue_hold, NULL},
    {"queue release", "[ID]", 0, 1, "Delivers held entries", queue_options, cmd_queue_release, NULL},
    {"queue drop", "[ID]", 0, 1, "Forgets entries; nobody is told", queue_options, cmd_queue_drop, NULL},
    {"queue bounce", "[ID]", 0, 1, "Gives entries up and tells their senders", queue_options, cmd_queue_bounce, NULL},
    {"mailbox list", "USER", 1, 1, "Lists an account's mailboxes", NULL, cmd_mailbox_list, NULL},
    {"mailbox status", "USER MAILBOX", 2, 2, "Shows one mailbox", NULL, cmd_mailbox_status, NULL},
    {"mailbox import", "USER PATH", 2, 2, "Imports an mbox file or a Maildir with its folders", import_options, cmd_mailbox_import,
     "Flags and dates are kept. Messages whose exact bytes the mailbox has already are skipped, so that an import that was\n"
     "broken off is completed by starting it again. PATH - is an mbox on standard input."},
    {"mailbox export", "USER PATH", 2, 2, "Exports mail into mbox files or a Maildir", export_options, cmd_mailbox_export,
     "Without --mailbox all mailboxes: PATH is a directory then, with a file for each mailbox, or a Maildir++."},
    {"import", "USER PATH", 2, 2, "The same as mailbox import", import_options, cmd_mailbox_import, NULL},
    {"export", "USER PATH", 2, 2, "The same as mailbox export", export_options, cmd_mailbox_export, NULL},
    {"imap", "", 0, 0, "Speaks IMAP on standard input and output, logged in already", imap_options, cmd_imap,
     "For mail readers that run it through ssh, and for scripts."},
    {"backup", "PATH", 1, 1, "Copies everything consistently into a new directory, while the server runs", NULL, cmd_backup, NULL},
    {"restore", "PATH", 1, 1, "Puts a backup where the store was; needs a stopped server", NULL, cmd_restore, NULL},
    {"fsck", "", 0, 0, "Checks the store; exit code 7 if something is wrong", fsck_options, cmd_fsck, NULL},
    {"help settings", "", 0, 0, "Lists the settings of the configuration", settings_options, cmd_help_settings, NULL},
    {"help", "[COMMAND]", 0, 2, "Tells about the commands", NULL, cmd_help, NULL},
    {0},
};
