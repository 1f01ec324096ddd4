#include "client.h"

#include <string.h>

static const char LOGIN_REFUSED[] = "ACCESS_REFUSED - Login was refused using authentication mechanism PLAIN. "
                                    "For details see the broker logfile.";

static void round_trip(Connection *connection)
{
    Channel channel = open_channel(connection, 1);
    char *queue = new_queue(channel, "round-trip");
    publish(channel, queue, "there and back");
    equal_text(drain(channel, queue), "there and back", "messages");
}

/* amqp_parse_url knows no query, so the heartbeat goes to amqp_login. */
static void connect_by_uri(void)
{
    const struct amqp_connection_info *given = broker();
    struct amqp_connection_info parsed;
    char *uri = text("amqp://%s:%s@%s:%d/%%2F", given->user, given->password, given->host, given->port);
    equal_int(amqp_parse_url(uri, &parsed), AMQP_STATUS_OK, "amqp_parse_url");
    equal_text(parsed.vhost, "/", "vhost");
    equal_int(parsed.port, given->port, "port");
    Connection *connection = connect_with((Login){
        .user = parsed.user,
        .password = parsed.password,
        .vhost = parsed.vhost,
        .heartbeat = 17,
    });
    equal_int(amqp_get_heartbeat(connection->state), 17, "heartbeat");
    round_trip(connection);
    close_connection(connection);
}

static void connect_by_options(void)
{
    Connection *connection = connect_with((Login){
        .vhost = "/",
        .channel_max = 5,
        .frame_max = 65536,
        .heartbeat = 17,
        .properties = TABLE(utf8("connection_name", name("connection"))),
    });
    equal_int(amqp_get_channel_max(connection->state), 5, "channel_max");
    equal_int(amqp_get_frame_max(connection->state), 65536, "frame_max");
    equal_int(amqp_get_heartbeat(connection->state), 17, "heartbeat");
    const amqp_field_value_t *sent = field(*amqp_get_client_properties(connection->state), "connection_name");
    equal_text(sent ? value_text(*sent) : "none", text("S:%s", name("connection")), "connection name");
    round_trip(connection);
    for (amqp_channel_t number = 2; number <= 5; number++)
        open_channel(connection, number);
    close_connection(connection);
}

static bool is_version(const char *version)
{
    int numbers[3], length = 0;
    return sscanf(version, "%d.%d.%d%n", &numbers[0], &numbers[1], &numbers[2], &length) == 3
        && version[length] == '\0';
}

static void server_properties(void)
{
    static const char *const capabilities[] = {
        "publisher_confirms",   "exchange_exchange_bindings",   "basic.nack",
        "consumer_cancel_notify", "connection.blocked",         "consumer_priorities",
        "authentication_failure_close", "per_consumer_qos",     "direct_reply_to",
    };
    amqp_table_t properties = *amqp_get_server_properties(connect_to_broker()->state);
    const amqp_field_value_t *product = field(properties, "product");
    const amqp_field_value_t *version = field(properties, "version");
    const amqp_field_value_t *offered = field(properties, "capabilities");
    check(product && version && offered, "no product, version or capabilities in %s", table_text(properties));
    equal_text(value_text(*product), "S:RabbitMQ", "product");
    check(is_version(text_of(version->value.bytes)), "version: %s is not of the form x.y.z", value_text(*version));
    for (size_t n = 0; n < sizeof capabilities / sizeof capabilities[0]; n++) {
        const amqp_field_value_t *capability = field(offered->value.table, capabilities[n]);
        equal_text(capability ? value_text(*capability) : "none", "t:true", capabilities[n]);
    }
}

static void wrong_password(void)
{
    expect_login_refused((Login){.password = "wrong"}, AMQP_ACCESS_REFUSED, LOGIN_REFUSED);
    expect_login_refused((Login){.user = "nobody", .password = "wrong"}, AMQP_ACCESS_REFUSED, LOGIN_REFUSED);
}

static void unknown_vhost(void)
{
    expect_login_refused((Login){.vhost = "nowhere"}, AMQP_NOT_ALLOWED, "NOT_ALLOWED - vhost nowhere not found");
}

/* librabbitmq sends and expects heartbeats while it waits for frames. */
static void heartbeats(void)
{
    Connection *connection = connect_with((Login){.heartbeat = 1});
    for (double until = now() + 3.5; now() < until;)
        check(!work(connection, 200), "something came of an idle connection: %s", connection->close_text);
    round_trip(connection);
}

/* Nobody works the silent connection, so it sends nothing. */
static void heartbeat_missed(void)
{
    Channel observer = new_channel();
    char *queue = shared_queue(observer, "queue", (QueueOptions){0});
    double started = now();
    Channel silent = open_channel(connect_with((Login){.heartbeat = 1}), 1);
    publish(silent, queue, "held");
    await_messages(consume(silent, queue), 1);
    Inbox *inbox = consume(observer, queue);
    await_messages(inbox, 1);
    equal_text(marked_bodies(inbox), "held again", "messages of the observer");
    check(now() - started > 1, "the silent connection was cut off after %.1f s", now() - started);
    await(silent.connection, silent.connection->is_closed, "the silent connection is closed");
}

static void small_frames(void)
{
    Channel channel = open_channel(connect_with((Login){.frame_max = 4096}), 1);
    equal_int(amqp_get_frame_max(channel.state), 4096, "frame_max");
    char *queue = new_queue(channel, "queue");
    char content[100000], long_header[3001] = {0};
    for (size_t n = 0; n < sizeof content; n++)
        content[n] = (char)(n % 250);
    memset(long_header, 'h', sizeof long_header - 1);
    amqp_bytes_t given = {sizeof content, content};
    send_message(channel, "", queue, false, HEADERS(utf8("long", long_header)), given);
    Message message = take(channel, queue);
    equal_int((int64_t)message.content.body.len, sizeof content, "body size");
    check(memcmp(message.content.body.bytes, content, sizeof content) == 0, "the body is not the same");
    equal_text(header(&message, "long"), text("S:%s", long_header), "header");
}

static void graceful_shutdown(void)
{
    Connection *connection = connect_to_broker();
    round_trip(connection);
    ask("stop");
    await_for(30, connection, connection->is_closed, "the client is told");
    expect_closed(
        connection, AMQP_CONNECTION_FORCED,
        "CONNECTION_FORCED - broker forced connection closure with reason 'shutdown'");
}

const Scenario connection_scenarios[] = {
    SCENARIO(connect_by_uri),
    SCENARIO(connect_by_options),
    SCENARIO(server_properties),
    LACKING("amqplain_login", "librabbitmq logs in with PLAIN or EXTERNAL only"),
    SCENARIO(wrong_password),
    SCENARIO(unknown_vhost),
    SCENARIO(heartbeats),
    SCENARIO(heartbeat_missed),
    LACKING("update_secret", "librabbitmq 0.11 does not know connection.update-secret"),
    SCENARIO(small_frames),
    SCENARIO(graceful_shutdown),
    END_OF_SCENARIOS,
};
