#include "rt/settings.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include <cmocka.h>

static enum st parse(const char *text, struct settings **out, struct err *e)
{
    return settings_parse("t.conf", str_of(text), out, e);
}

static void test_values(void **state)
{
    (void)state;
    struct settings *s = NULL;
    struct err e = {0};
    const char *text = "global { hostname = \"mail.example.org\" }\n"
                       "smtp { recipients_max = 250 command_timeout = 2m bare_newline_repair = true }\n"
                       "message { size_max = 10M }\n"
                       "listen \"mx\" { protocol = \"smtp\" address = \"0.0.0.0\" port = 25 }\n"
                       "listen \"s\" { protocol = \"submission\" port = 465 tls = true }\n"
                       "certificate \"a\" { chain = \"/c\" key = \"/k\" }\n"
                       "route \"example.net\" { host = \"10.0.0.1\" port = 2525 }\n";
    assert_int_equal(parse(text, &s, &e), ST_OK);
    assert_string_equal(s->global_hostname, "mail.example.org");
    assert_int_equal(s->smtp_recipients_max, 250);
    assert_int_equal(s->smtp_command_timeout_ms, 120000);
    assert_true(s->smtp_bare_newline_repair);
    assert_int_equal(s->message_size_max, 10 << 20);
    assert_int_equal(s->smtp_errors_max, 20); /* the default */
    assert_int_equal(s->listen_count, 2);
    assert_true(s->listen[1].tls && s->listen[1].port == 465);
    assert_string_equal(s->certificate[0].key, "/k");
    assert_string_equal(s->route[0].host, "10.0.0.1");
    settings_use(&s);
    const struct settings *now = settings_current();
    assert_int_equal(now->smtp_recipients_max, 250);
    settings_unref(now);
}

static void test_errors_name_the_place(void **state)
{
    (void)state;
    static const struct {
        const char *text, *place, *word;
    } rows[] = {
        {"smtp { recipients_max = many }", "t.conf:1", "number between 100 and 50000"},
        {"\n\nsmtp {\n recipients_max = 5\n}", "t.conf:4", "for example recipients_max = 1000"},
        {"smtp { command_timeout = 5 }", "t.conf:1", "30s"},
        {"smtp { nonsense = 5 }", "t.conf:1", "nonsense"},
        {"smtp { recipients_max = 300", "t.conf", "expected '}'"},
        {"listen \"x\" { protocol = \"gopher\" port = 70 }", "t.conf:1", "submission"},
        {"listen \"x\" { protocol = \"smtp\" port = 70000 }", "t.conf:1", "65535"},
        {"certificate \"x\" { chain = \"/c\" }", "t.conf:1", "key"},
        {"log { json = maybe }", "t.conf:1", "true or false"},
        {"log { level = loud }", "t.conf:1", "debug, info, warn or error"},
        {"\nqueue { tls = may\n tls = never }", "t.conf:3", "may, must or off"},
        {"listen \"x\" { protocol = \"smtp\" port = 70 connections = 0 }", "t.conf:1", "1000000"},
        {"program \"x\" { command = {\"relative\"} }", "t.conf:1", "/path/of/program"},
        {"program \"x\" { command = {\"/bin/x\"} memory = lots }", "t.conf:1", "256M"},
        {"route \"x\" { port = 25 }", "t.conf:1", "either host"},
        {"program \"p\" { command = {\"/bin/x\"} }\nroute \"x\" { host = \"h\" program = \"p\" }", "t.conf:2", "either host"},
        {"route \"x\" { program = \"/bin/sh\" }", "t.conf:1", "title of a program section"},
        {"program \"\" { command = {\"/bin/x\"} }", "t.conf:1", "1 to 100 bytes"},
        {"include(\"no-such-file.conf\")", "t.conf:1", "no-such-file.conf"},
        {"include(\"/dev/zero\")", "t.conf:1", "cannot be read"},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct settings *s = NULL;
        struct err e = {0};
        assert_int_equal(parse(rows[i].text, &s, &e), ST_PERM);
        if (!strstr(e.text, rows[i].place) || !strstr(e.text, rows[i].word))
            fail_msg("%s: got \"%s\", want %s and %s", rows[i].text, e.text, rows[i].place, rows[i].word);
    }
}

static void write_file(const char *path, const char *text)
{
    FILE *f = fopen(path, "w");
    assert_non_null(f);
    fputs(text, f);
    assert_int_equal(fclose(f), 0);
}

/* Relative to the file that includes; complaints name the included file and its line. */
static void test_includes(void **state)
{
    (void)state;
    char folder[] = "/tmp/settings-test-XXXXXX", main_path[64], more_path[64];
    struct settings *s = NULL;
    struct err e = {0};
    assert_non_null(mkdtemp(folder));
    snprintf(main_path, sizeof main_path, "%s/main.conf", folder);
    snprintf(more_path, sizeof more_path, "%s/more.conf", folder);
    write_file(main_path, "log { json = true }\ninclude(\"more.conf\")\nsmtp { errors_max = 7 }\n");
    write_file(more_path, "program \"fax\" {\n command = {\"/usr/bin/fax\", \"-v\"}\n timeout = 5s }\n");
    assert_int_equal(settings_load(main_path, &s, &e), ST_OK);
    assert_true(s->log_json && s->smtp_errors_max == 7);
    assert_int_equal(s->program_count, 1);
    assert_string_equal(s->program[0].command[0], "/usr/bin/fax");
    assert_string_equal(s->program[0].command[1], "-v");
    assert_null(s->program[0].command[2]);
    assert_int_equal(s->program[0].timeout_ms, 5000);
    assert_int_equal(s->program[0].memory_bytes, 512 << 20);
    settings_unref(s);
    write_file(more_path, "\n\nsmtp { errors_max = 1 }\n");
    assert_int_equal(settings_load(main_path, &s, &e), ST_PERM);
    assert_non_null(strstr(e.text, "more.conf:3: errors_max = 1: expected a number between 3 and 10000"));
    write_file(more_path, "include(\"more.conf\")\n"); /* itself */
    assert_int_equal(settings_load(main_path, &s, &e), ST_PERM);
    assert_non_null(strstr(e.text, "only the main file"));
    unlink(main_path);
    unlink(more_path);
    rmdir(folder);
}

static void test_rows_are_sound(void **state)
{
    (void)state;
    size_t count;
    const struct settings_row *rows = settings_rows(&count);
    struct settings *defaults = settings_defaults();
    struct buf text = BUF_INIT(1 << 20);
    for (size_t i = 0; i < count; i++) {
        if (rows[i].kind != SETTINGS_TEXT)
            assert_true(rows[i].number_default >= rows[i].min && rows[i].number_default <= rows[i].max);
        assert_true(strlen(rows[i].prose) > 10);
        /* what is printed can be read back */
        buf_printf(&text, "%s { %s = ", rows[i].section, rows[i].name);
        settings_print_value(&rows[i], defaults, &text);
        buf_add_z(&text, " }\n");
    }
    struct settings *again = NULL;
    struct err e = {0};
    if (settings_parse("printed", buf_str(&text), &again, &e) != ST_OK)
        fail_msg("%s", e.text);
    for (size_t i = 0; i < count; i++) {
        struct buf a = BUF_INIT(4096), b = BUF_INIT(4096);
        settings_print_value(&rows[i], defaults, &a);
        settings_print_value(&rows[i], again, &b);
        assert_string_equal(buf_z(&a), buf_z(&b));
        buf_release(&a);
        buf_release(&b);
    }
    buf_release(&text);
    settings_unref(again);
    settings_unref(defaults);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_values), cmocka_unit_test(test_errors_name_the_place),
                                       cmocka_unit_test(test_includes), cmocka_unit_test(test_rows_are_sound)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
