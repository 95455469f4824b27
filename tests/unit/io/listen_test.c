#include "io/listen.h"

#include <sys/resource.h>
#include <sys/un.h>

#include "base/log.h"
#include "io/systemd.h"
#include "world.h"

static struct end client, server;

TEST(port_0_lets_the_system_choose_and_tells)
{
    char want[64];
    world_begin();
    snprintf(want, sizeof(want), "127.0.0.1:%d", mg_listen_port(&listener));

    CHECK(mg_listen_port(&listener) > 0);
    CHECK_STR(listener.address, want);

    world_end();
}

TEST(a_taken_port_is_refused_with_a_sentence)
{
    struct mg_listener second;
    struct mg_diag diag = {0};
    world_begin();
    struct mg_listen_spec spec = {.host = "127.0.0.1", .port = listener.port};

    CHECK_INT(mg_listen_start(&second, &loop, &spec, world_on_fd, NULL, &diag), MG_E_EXISTS);

    CHECK(mg_view_search(mg_view_cstr(diag.text), MG_VIEW("another program")) < strlen(diag.text));
    world_end();
}

TEST(a_host_that_is_no_address_is_refused_with_a_sentence)
{
    struct mg_listener second;
    struct mg_diag diag = {0};
    world_begin();
    struct mg_listen_spec spec = {.host = "not an address"};

    CHECK_INT(mg_listen_start(&second, &loop, &spec, world_on_fd, NULL, &diag), MG_E_SYSTEM);
    CHECK(diag.text[0]);

    world_end();
}

TEST(a_star_listens_on_every_address)
{
    struct mg_listener all;
    struct mg_diag diag;
    struct mg_listen_spec spec = {.host = "*"};
    world_begin();
    CHECK_OK(mg_listen_start(&all, &loop, &spec, world_on_fd, NULL, &diag));
    struct sockaddr_in address = world_address();
    address.sin_port = htons((uint16_t)all.port);

    world_accept_into(&server);
    end_init(&client);
    client.stream = mg_stream_connect(&loop, (struct sockaddr *)&address, &end_ops, &client);
    UNTIL(client.opened && server.stream);

    end_fini(&client);
    end_fini(&server);
    mg_listen_stop(&all, world_stopped);
    UNTIL(stopped);
    stopped = false;
    world_end();
}

TEST(out_of_descriptors_it_pauses_and_goes_on)
{
    world_begin();
    mg_log_level(MG_LOG_OFF);
    mg_fault_arm(MG_FAULT_ACCEPT, 1);
    world_accept_into(&server);
    world_connect(&client);

    UNTIL(listener.paused);
    CHECK(!server.stream);
    UNTIL(server.stream);

    CHECK(!listener.paused);
    mg_log_level(MG_LOG_INFO);
    end_fini(&client);
    end_fini(&server);
    world_end();
}

TEST(really_out_of_descriptors_nobody_spins_and_the_connection_is_served_later)
{
    struct rlimit limit, tight;
    int turns = 0;
    world_begin();
    mg_log_level(MG_LOG_OFF);
    CHECK_INT(getrlimit(RLIMIT_NOFILE, &limit), 0);
    world_accept_into(&server);
    world_connect(&client);
    int lowest_free = dup(0);
    close(lowest_free);
    tight = limit;
    tight.rlim_cur = (rlim_t)lowest_free;
    CHECK_INT(setrlimit(RLIMIT_NOFILE, &tight), 0);

    uint64_t until_us = mg_mono_us() + 350000;
    for (; mg_mono_us() < until_us; turns++)
        mg_loop_turn(&loop, 50);
    CHECK(listener.paused);
    CHECK(!server.stream);
    CHECK(turns < 40);
    CHECK_INT(setrlimit(RLIMIT_NOFILE, &limit), 0);
    UNTIL(server.stream);

    mg_log_level(MG_LOG_INFO);
    end_fini(&client);
    end_fini(&server);
    world_end();
}

TEST(what_waits_in_the_backlog_is_accepted_before_it_stops)
{
    struct sockaddr_in address;
    world_begin();
    address = world_address();
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    world_accept_into(&server);
    CHECK_INT(connect(fd, (struct sockaddr *)&address, sizeof(address)), 0);

    mg_listen_stop(&listener, world_stopped);
    CHECK(server.stream);
    CHECK(!stopped);
    UNTIL(stopped);
    CHECK(connect(socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0), (struct sockaddr *)&address,
                  sizeof(address)) != 0);

    CHECK_INT(write(fd, "hi", 2), 2);
    UNTIL(server.got.len == 2);
    close(fd);
    end_fini(&server);
    mg_loop_fini(&loop);
}

TEST(a_stale_unix_socket_is_replaced_and_a_live_one_is_not)
{
    char dir[] = "/tmp/mg-listen-XXXXXX", path[64];
    struct mg_listener one, two;
    struct mg_diag diag;
    CHECK(mkdtemp(dir));
    snprintf(path, sizeof(path), "%s/s", dir);
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    snprintf(address.sun_path, sizeof(address.sun_path), "%s", path);
    int stale = socket(AF_UNIX, SOCK_STREAM, 0);
    CHECK_INT(bind(stale, (struct sockaddr *)&address, sizeof(address)), 0);
    close(stale);
    struct mg_listen_spec spec = {.unix_path = path};
    world_begin();

    CHECK_OK(mg_listen_start(&one, &loop, &spec, world_on_fd, NULL, &diag));
    CHECK_INT(mg_listen_start(&two, &loop, &spec, world_on_fd, NULL, &diag), MG_E_EXISTS);

    mg_listen_stop(&one, world_stopped);
    UNTIL(stopped);
    stopped = false;
    rmdir(dir);
    world_end();
}

TEST(an_inherited_socket_is_used_as_it_is)
{
    struct mg_listener inherited;
    struct mg_diag diag;
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    struct sockaddr_in address = {.sin_family = AF_INET};
    socklen_t size = sizeof(address);
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    CHECK_INT(bind(fd, (struct sockaddr *)&address, sizeof(address)), 0);
    CHECK_INT(listen(fd, 8), 0);
    CHECK_INT(getsockname(fd, (struct sockaddr *)&address, &size), 0);
    world_begin();
    struct mg_listen_spec spec = {.fd = fd};

    CHECK_OK(mg_listen_start(&inherited, &loop, &spec, world_on_fd, NULL, &diag));
    CHECK_INT(inherited.port, ntohs(address.sin_port));
    world_accept_into(&server);
    end_init(&client);
    client.stream = mg_stream_connect(&loop, (struct sockaddr *)&address, &end_ops, &client);
    UNTIL(server.stream);

    end_fini(&client);
    end_fini(&server);
    mg_listen_stop(&inherited, world_stopped);
    UNTIL(stopped);
    stopped = false;
    world_end();
}

TEST(systemd_sockets_are_counted_only_when_they_are_for_this_process)
{
    char pid[16];
    unsetenv("LISTEN_PID");
    setenv("LISTEN_FDS", "1", 1);
    CHECK_INT(mg_sd_listen_count(), 0);
    setenv("LISTEN_PID", "1", 1);
    CHECK_INT(mg_sd_listen_count(), 0);
    snprintf(pid, sizeof(pid), "%d", getpid());
    setenv("LISTEN_PID", pid, 1);
    CHECK_INT(mg_sd_listen_count(), 1);
    setenv("LISTEN_FDS", "many", 1);
    CHECK_INT(mg_sd_listen_count(), 0);

    setenv("LISTEN_FDS", "1", 1);
    int three = fcntl(3, F_GETFD) < 0 ? dup2(0, 3) : -1;
    CHECK_INT(mg_sd_listen_fd(0), 3);
    CHECK(fcntl(3, F_GETFD) & FD_CLOEXEC);
    CHECK_INT(mg_sd_listen_fd(1), -1);
    CHECK_INT(mg_sd_listen_fd(-1), -1);
    if (three >= 0)
        close(three);
    unsetenv("LISTEN_PID");
    unsetenv("LISTEN_FDS");
}

TEST(systemd_is_told_through_its_socket)
{
    for (size_t i = 0; i < 2; i++) {
        struct sockaddr_un address = {.sun_family = AF_UNIX};
        char name[64], got[32] = "";
        snprintf(name, sizeof(name), i ? "@mg-notify-%d" : "/tmp/mg-notify-%d", getpid());
        snprintf(address.sun_path, sizeof(address.sun_path), "%s", name);
        if (name[0] == '@')
            address.sun_path[0] = '\0';
        int fd = socket(AF_UNIX, SOCK_DGRAM, 0);
        socklen_t size = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + strlen(name));
        CHECK_INT(bind(fd, (struct sockaddr *)&address, size), 0);
        setenv("NOTIFY_SOCKET", name, 1);

        CHECK_OK(mg_sd_notify("READY=1"));

        CHECK_INT(recv(fd, got, sizeof(got), 0), 7);
        CHECK_STR(got, "READY=1");
        close(fd);
        unlink(name);
    }
    CHECK_INT(mg_sd_notify("READY=1"), MG_E_SYSTEM);
    unsetenv("NOTIFY_SOCKET");
    CHECK_OK(mg_sd_notify("READY=1"));
}

MG_TEST_MAIN()
