#include "client.h"

#include <amqp_tcp_socket.h>
#include <inttypes.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/time.h>
#include <time.h>

#define RPC_TIMEOUT_S 15
#define RECONNECT_TIMEOUT_S 40

static struct amqp_connection_info broker_info;

/* Threads connect too. */
static pthread_mutex_t connections_lock = PTHREAD_MUTEX_INITIALIZER;
static Connection *connections;

double now(void)
{
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return (double)time.tv_sec + (double)time.tv_nsec / 1e9;
}

void sleep_ms(int milliseconds)
{
    nanosleep(&(struct timespec){milliseconds / 1000, milliseconds % 1000 * 1000000L}, NULL);
}

bool set_broker(const char *url)
{
    return amqp_parse_url(text("%s", url), &broker_info) == AMQP_STATUS_OK;
}

const struct amqp_connection_info *broker(void)
{
    return &broker_info;
}

static bool is_library_error(amqp_rpc_reply_t reply, int status)
{
    return reply.reply_type == AMQP_RESPONSE_LIBRARY_EXCEPTION && reply.library_error == status;
}

/* The code and text with which the broker refused, or the library's own words and no code. */
static int reply_code(amqp_rpc_reply_t reply, char **said)
{
    if (reply.reply_type == AMQP_RESPONSE_LIBRARY_EXCEPTION) {
        *said = text("%s", amqp_error_string2(reply.library_error));
        return 0;
    }
    if (reply.reply_type == AMQP_RESPONSE_SERVER_EXCEPTION && reply.reply.id == AMQP_CHANNEL_CLOSE_METHOD) {
        const amqp_channel_close_t *close = reply.reply.decoded;
        *said = text_of(close->reply_text);
        return close->reply_code;
    }
    if (reply.reply_type == AMQP_RESPONSE_SERVER_EXCEPTION && reply.reply.id == AMQP_CONNECTION_CLOSE_METHOD) {
        const amqp_connection_close_t *close = reply.reply.decoded;
        *said = text_of(close->reply_text);
        return close->reply_code;
    }
    *said = "no error";
    return 0;
}

static void confirm_close(Connection *connection)
{
    amqp_connection_close_ok_t ok = {0};
    amqp_send_method(connection->state, 0, AMQP_CONNECTION_CLOSE_OK_METHOD, &ok);
}

static void note_closed(Connection *connection, amqp_rpc_reply_t reply)
{
    connection->is_closed = true;
    connection->close_code = reply_code(reply, &connection->close_text);
    if (reply.reply_type == AMQP_RESPONSE_SERVER_EXCEPTION)
        confirm_close(connection);
}

/* Connections */

static Login completed(Login login)
{
    if (login.user == NULL)
        login.user = broker_info.user;
    if (login.password == NULL)
        login.password = broker_info.password;
    if (login.vhost == NULL)
        login.vhost = broker_info.vhost;
    if (login.frame_max == 0)
        login.frame_max = DEFAULT_FRAME_MAX;
    return login;
}

static Connection *new_connection(void)
{
    Connection *connection = calloc(1, sizeof *connection);
    if (connection == NULL)
        abort();
    connection->state = amqp_new_connection();
    connection->told = list();
    connection->cancelled = list();
    return connection;
}

static amqp_rpc_reply_t log_in(Connection *connection, Login given)
{
    Login login = completed(given);
    amqp_socket_t *socket = amqp_tcp_socket_new(connection->state);
    int status = amqp_socket_open(socket, broker_info.host, broker_info.port);
    if (status != AMQP_STATUS_OK)
        return (amqp_rpc_reply_t){.reply_type = AMQP_RESPONSE_LIBRARY_EXCEPTION, .library_error = status};
    amqp_rpc_reply_t reply = amqp_login_with_properties(
        connection->state, login.vhost, login.channel_max, login.frame_max, login.heartbeat, &login.properties,
        AMQP_SASL_METHOD_PLAIN, login.user, login.password);
    amqp_set_rpc_timeout(connection->state, &(struct timeval){.tv_sec = RPC_TIMEOUT_S});
    return reply;
}

static void keep(Connection *connection)
{
    pthread_mutex_lock(&connections_lock);
    connection->next = connections;
    connections = connection;
    pthread_mutex_unlock(&connections_lock);
}

static Connection *try_to_connect_with(Login login, amqp_rpc_reply_t *reply)
{
    Connection *connection = new_connection();
    *reply = log_in(connection, login);
    if (reply->reply_type == AMQP_RESPONSE_NORMAL) {
        keep(connection);
        return connection;
    }
    note_closed(connection, *reply);
    amqp_destroy_connection(connection->state);
    return NULL;
}

Connection *try_to_connect(void)
{
    amqp_rpc_reply_t reply;
    return try_to_connect_with((Login){0}, &reply);
}

Connection *connect_to_broker(void)
{
    return connect_with((Login){0});
}

Connection *connect_with(Login login)
{
    Connection *connection = new_connection();
    amqp_rpc_reply_t reply = log_in(connection, login);
    char *said;
    int code = reply_code(reply, &said);
    check(reply.reply_type == AMQP_RESPONSE_NORMAL, "login: %d %s", code, said);
    keep(connection);
    return connection;
}

Connection *connect_with_capability(const char *capability)
{
    amqp_table_t capabilities = TABLE(flag(capability, true));
    return connect_with((Login){.properties = TABLE(table("capabilities", capabilities))});
}

Connection *reconnect(void)
{
    for (double until = now() + RECONNECT_TIMEOUT_S; now() < until; sleep_ms(100)) {
        Connection *connection = try_to_connect();
        if (connection != NULL)
            return connection;
    }
    fail("no connection to the broker after %d s", RECONNECT_TIMEOUT_S);
}

void expect_login_refused(Login login, int code, const char *expected)
{
    Connection *connection = new_connection();
    char *said;
    int actual = reply_code(log_in(connection, login), &said);
    equal_text(text("%d %s", actual, said), text("%d %s", code, expected), "login");
    confirm_close(connection);
    amqp_destroy_connection(connection->state);
}

void close_connection(Connection *connection)
{
    amqp_rpc_reply_t reply = amqp_connection_close(connection->state, AMQP_REPLY_SUCCESS);
    connection->is_closed = true;
    char *said;
    int code = reply_code(reply, &said);
    check(reply.reply_type == AMQP_RESPONSE_NORMAL, "connection.close: %d %s", code, said);
}

void close_connections(void)
{
    for (Connection *connection = connections; connection != NULL; connection = connection->next) {
        if (!connection->is_closed)
            amqp_connection_close(connection->state, AMQP_REPLY_SUCCESS);
        amqp_destroy_connection(connection->state);
    }
}

/* Channels */

Channel open_channel(Connection *connection, amqp_channel_t number)
{
    Channel channel = {connection->state, number, connection};
    amqp_channel_open(channel.state, channel.number);
    must(channel, "channel.open");
    return channel;
}

Channel new_channel(void)
{
    return open_channel(connect_to_broker(), 1);
}

void close_channel(Channel channel)
{
    amqp_rpc_reply_t reply = amqp_channel_close(channel.state, channel.number, AMQP_REPLY_SUCCESS);
    char *said;
    int code = reply_code(reply, &said);
    check(reply.reply_type == AMQP_RESPONSE_NORMAL, "channel.close: %d %s", code, said);
}

void must(Channel channel, const char *what)
{
    amqp_rpc_reply_t reply = amqp_get_rpc_reply(channel.state);
    char *said;
    int code = reply_code(reply, &said);
    check(reply.reply_type == AMQP_RESPONSE_NORMAL, "%s: %d %s", what, code, said);
}

static void must_send(int status, const char *what)
{
    check(status == AMQP_STATUS_OK, "%s: %s", what, amqp_error_string2(status));
}

void refused_at(const char *file, int line, Channel channel, int code, const char *expected)
{
    amqp_rpc_reply_t reply = amqp_get_rpc_reply(channel.state);
    char *said;
    int actual = reply_code(reply, &said);
    equal_text_at(file, line, text("%d %s", actual, said), text("%d %s", code, reply_text(expected)), "channel error");
    equal_int_at(file, line, reply.reply.id, AMQP_CHANNEL_CLOSE_METHOD, "the method of the error");
    amqp_channel_close_ok_t ok = {0};
    must_send(amqp_send_method(channel.state, channel.number, AMQP_CHANNEL_CLOSE_OK_METHOD, &ok), "channel.close-ok");
    amqp_maybe_release_buffers(channel.state);
    open_channel(channel.connection, channel.number);
}

void expect_closed_at(const char *file, int line, Connection *connection, int code, const char *expected)
{
    amqp_rpc_reply_t reply = amqp_get_rpc_reply(connection->state);
    if (reply.reply_type == AMQP_RESPONSE_SERVER_EXCEPTION && !connection->is_closed)
        note_closed(connection, reply);
    await(connection, connection->is_closed, "the connection is closed");
    char *actual = text("%d %s", connection->close_code, connection->close_text);
    equal_text_at(file, line, actual, text("%d %s", code, reply_text(expected)), "connection error");
}

/* Queues and exchanges */

char *name(const char *label)
{
    static char token[9];
    if (token[0] == '\0') {
        unsigned char random[4] = {0};
        FILE *source = fopen("/dev/urandom", "rb");
        check(source != NULL && fread(random, sizeof random, 1, source) == 1, "no random bytes");
        fclose(source);
        snprintf(token, sizeof token, "%02x%02x%02x%02x", random[0], random[1], random[2], random[3]);
    }
    return text("interop.%s.%s.%s", scenario_name(), label, token);
}

amqp_queue_declare_ok_t *declare_queue(Channel channel, const char *name, QueueOptions options)
{
    return amqp_queue_declare(
        channel.state, channel.number, bytes(name), options.passive, options.durable, options.exclusive,
        options.auto_delete, options.arguments);
}

amqp_exchange_declare_ok_t *
declare_exchange(Channel channel, const char *name, const char *type, ExchangeOptions options)
{
    return amqp_exchange_declare(
        channel.state, channel.number, bytes(name), bytes(type), options.passive, options.durable,
        options.auto_delete, options.internal, options.arguments);
}

char *new_queue(Channel channel, const char *label)
{
    return new_queue_with(channel, label, amqp_empty_table);
}

char *new_queue_with(Channel channel, const char *label, amqp_table_t arguments)
{
    char *queue = name(label);
    declare_queue(channel, queue, (QueueOptions){.exclusive = true, .arguments = arguments});
    must(channel, "queue.declare");
    return queue;
}

char *shared_queue(Channel channel, const char *label, QueueOptions options)
{
    char *queue = name(label);
    declare_queue(channel, queue, options);
    must(channel, "queue.declare");
    delete_queue_afterwards(queue);
    return queue;
}

char *new_exchange(Channel channel, const char *type, const char *label, ExchangeOptions options)
{
    char *exchange = name(label);
    declare_exchange(channel, exchange, type, options);
    must(channel, "exchange.declare");
    delete_exchange_afterwards(exchange);
    return exchange;
}

void bind_queue(Channel channel, const char *queue, const char *exchange, const char *key)
{
    bind_queue_with(channel, queue, exchange, key, amqp_empty_table);
}

void bind_queue_with(
    Channel channel, const char *queue, const char *exchange, const char *key, amqp_table_t arguments)
{
    amqp_queue_bind(channel.state, channel.number, bytes(queue), bytes(exchange), bytes(key), arguments);
    must(channel, "queue.bind");
}

void unbind_queue(Channel channel, const char *queue, const char *exchange, const char *key)
{
    amqp_queue_unbind(
        channel.state, channel.number, bytes(queue), bytes(exchange), bytes(key), amqp_empty_table);
    must(channel, "queue.unbind");
}

void delete_queue(Channel channel, const char *queue)
{
    amqp_queue_delete(channel.state, channel.number, bytes(queue), false, false);
    must(channel, "queue.delete");
}

amqp_queue_declare_ok_t look_at(Channel channel, const char *queue)
{
    amqp_queue_declare_ok_t *ok = declare_queue(channel, queue, (QueueOptions){.passive = true});
    must(channel, "passive queue.declare");
    amqp_queue_declare_ok_t found = *ok;
    amqp_maybe_release_buffers(channel.state);
    return found;
}

void await_ready(Channel channel, const char *queue, uint32_t count)
{
    uint32_t ready = 0;
    for (double until = now() + WAIT_S; now() < until; sleep_ms(10)) {
        ready = look_at(channel, queue).message_count;
        if (ready == count)
            return;
    }
    equal_int(ready, count, "messages ready");
}

void set_prefetch(Channel channel, uint16_t count)
{
    amqp_basic_qos(channel.state, channel.number, 0, count, false);
    must(channel, "basic.qos");
}

void select_confirms(Channel channel)
{
    amqp_confirm_select(channel.state, channel.number);
    must(channel, "confirm.select");
    channel.connection->published = 0;
}

/* Publishing */

void send_message(
    Channel channel,
    const char *exchange,
    const char *key,
    bool mandatory,
    const amqp_basic_properties_t *properties,
    amqp_bytes_t body)
{
    int status = amqp_basic_publish(
        channel.state, channel.number, bytes(exchange), bytes(key), mandatory, false, properties, body);
    must_send(status, "basic.publish");
    channel.connection->published++;
}

void publish_to(Channel channel, const char *exchange, const char *key, const char *body)
{
    send_message(channel, exchange, key, false, NULL, bytes(body));
}

void publish_with(Channel channel, const char *queue, const amqp_basic_properties_t *properties, const char *body)
{
    send_message(channel, "", queue, false, properties, bytes(body));
}

void publish_numbers(Channel channel, const char *queue, int first, int end)
{
    for (int number = first; number < end; number++) {
        char body[16];
        snprintf(body, sizeof body, "%d", number);
        publish_to(channel, "", queue, body);
    }
}

void publish_each(Channel channel, const char *queue, const char *const *bodies)
{
    for (; *bodies != NULL; bodies++)
        publish_to(channel, "", queue, *bodies);
}

void await_confirms(Channel channel)
{
    Connection *connection = channel.connection;
    await(connection, connection->confirmed == connection->published, "everything is confirmed");
}

/* Consuming */

static void append(Messages *messages, Message message)
{
    messages->all = realloc(messages->all, (messages->count + 1) * sizeof message);
    if (messages->all == NULL)
        abort();
    messages->all[messages->count++] = message;
}

Inbox *consume(Channel channel, const char *queue)
{
    return consume_with(channel, queue, (ConsumeOptions){0});
}

Inbox *consume_with(Channel channel, const char *queue, ConsumeOptions options)
{
    amqp_basic_consume_ok_t *ok = amqp_basic_consume(
        channel.state, channel.number, bytes(queue), bytes(options.tag), false, options.no_ack, options.exclusive,
        options.arguments);
    must(channel, "basic.consume");
    Inbox *inbox = calloc(1, sizeof *inbox);
    if (inbox == NULL)
        abort();
    *inbox = (Inbox){.channel = channel, .tag = text_of(ok->consumer_tag), .next = channel.connection->inboxes};
    channel.connection->inboxes = inbox;
    return inbox;
}

void cancel(Inbox *inbox)
{
    amqp_basic_cancel(inbox->channel.state, inbox->channel.number, bytes(inbox->tag));
    must(inbox->channel, "basic.cancel");
}

void await_messages(Inbox *inbox, size_t count)
{
    size_t had;
    do {
        had = inbox->messages.count;
        char *what = text("message %zu of %zu", had + 1, count);
        await(inbox->channel.connection, inbox->messages.count > had || inbox->messages.count >= count, what);
        free(what);
    } while (inbox->messages.count < count);
}

Message *message_at(Inbox *inbox, size_t position)
{
    await_messages(inbox, position + 1);
    return &inbox->messages.all[position];
}

Message *last_message(Inbox *inbox)
{
    return message_at(inbox, inbox->messages.count == 0 ? 0 : inbox->messages.count - 1);
}

char *bodies(const Inbox *inbox)
{
    List *all = list();
    for (size_t n = 0; n < inbox->messages.count; n++)
        add(all, "%s", body(&inbox->messages.all[n]));
    return listed(all);
}

char *first_bodies(Inbox *inbox, size_t count)
{
    await_messages(inbox, count);
    List *first = list();
    for (size_t n = 0; n < count; n++)
        add(first, "%s", body(&inbox->messages.all[n]));
    return listed(first);
}

static void add_marked(List *list, const Message *message)
{
    add(list, "%s%s", body(message), message->redelivered ? " again" : "");
}

char *marked_bodies(const Inbox *inbox)
{
    List *all = list();
    for (size_t n = 0; n < inbox->messages.count; n++)
        add_marked(all, &inbox->messages.all[n]);
    return listed(all);
}

void acknowledge(Channel channel, uint64_t tag)
{
    must_send(amqp_basic_ack(channel.state, channel.number, tag, false), "basic.ack");
}

void acknowledge_up_to(Channel channel, uint64_t tag)
{
    must_send(amqp_basic_ack(channel.state, channel.number, tag, true), "basic.ack");
}

void negatively_acknowledge(Channel channel, uint64_t tag, bool multiple, bool requeue)
{
    must_send(amqp_basic_nack(channel.state, channel.number, tag, multiple, requeue), "basic.nack");
}

void reject(Channel channel, uint64_t tag, bool requeue)
{
    must_send(amqp_basic_reject(channel.state, channel.number, tag, requeue), "basic.reject");
}

/* Getting */

static void read_content(Channel channel, amqp_message_t *content)
{
    amqp_rpc_reply_t reply = amqp_read_message(channel.state, channel.number, content, 0);
    char *said;
    reply_code(reply, &said);
    check(reply.reply_type == AMQP_RESPONSE_NORMAL, "content of a message: %s", said);
}

bool get(Channel channel, const char *queue, bool no_ack, Message *message)
{
    amqp_maybe_release_buffers(channel.state);
    amqp_rpc_reply_t reply = amqp_basic_get(channel.state, channel.number, bytes(queue), no_ack);
    must(channel, "basic.get");
    if (reply.reply.id == AMQP_BASIC_GET_EMPTY_METHOD)
        return false;
    const amqp_basic_get_ok_t *ok = reply.reply.decoded;
    *message = (Message){
        .delivery_tag = ok->delivery_tag,
        .redelivered = ok->redelivered,
        .exchange = text_of(ok->exchange),
        .routing_key = text_of(ok->routing_key),
        .count_left = ok->message_count,
        .arrived = now(),
    };
    read_content(channel, &message->content);
    return true;
}

Message take(Channel channel, const char *queue)
{
    Message message;
    check(get(channel, queue, true, &message), "no message in %s", queue);
    return message;
}

char *drain(Channel channel, const char *queue)
{
    List *all = list();
    for (Message message; get(channel, queue, true, &message);)
        add(all, "%s", body(&message));
    return listed(all);
}

char *drain_marked(Channel channel, const char *queue)
{
    List *all = list();
    for (Message message; get(channel, queue, true, &message);)
        add_marked(all, &message);
    return listed(all);
}

char *body(const Message *message)
{
    return text_of(message->content.body);
}

char *header(const Message *message, const char *key)
{
    const amqp_basic_properties_t *properties = &message->content.properties;
    if (!(properties->_flags & AMQP_BASIC_HEADERS_FLAG))
        return "none";
    const amqp_field_value_t *value = field(properties->headers, key);
    return value == NULL ? "none" : value_text(*value);
}

/* What the broker sends */

static void file_delivery(Connection *connection, const amqp_envelope_t *envelope)
{
    char *tag = text_of(envelope->consumer_tag);
    Inbox *inbox = connection->inboxes;
    while (inbox != NULL && (inbox->channel.number != envelope->channel || strcmp(inbox->tag, tag) != 0))
        inbox = inbox->next;
    check(inbox != NULL, "delivery to the unknown consumer '%s' on channel %d", tag, envelope->channel);
    Message message = {
        .consumer_tag = tag,
        .exchange = text_of(envelope->exchange),
        .routing_key = text_of(envelope->routing_key),
        .delivery_tag = envelope->delivery_tag,
        .redelivered = envelope->redelivered,
        .arrived = now(),
        .content = envelope->message,
    };
    append(&inbox->messages, message);
    amqp_bytes_free(envelope->consumer_tag);
    amqp_bytes_free(envelope->exchange);
    amqp_bytes_free(envelope->routing_key);
}

static void file_confirm(Connection *connection, uint64_t tag, bool multiple, Confirm confirm)
{
    check(tag <= CONFIRMS_MAX, "confirm of %" PRIu64 ", which was never published", tag);
    check(connection->confirms[tag] == UNCONFIRMED, "%" PRIu64 " was confirmed twice", tag);
    for (uint64_t n = multiple ? 1 : tag; n <= tag; n++) {
        if (connection->confirms[n] != UNCONFIRMED)
            continue;
        connection->confirms[n] = confirm;
        connection->confirmed++;
    }
}

static void file_return(Connection *connection, amqp_channel_t number, const amqp_basic_return_t *method)
{
    Message message = {
        .reply_code = method->reply_code,
        .reply_text = text_of(method->reply_text),
        .exchange = text_of(method->exchange),
        .routing_key = text_of(method->routing_key),
        .arrived = now(),
    };
    read_content((Channel){connection->state, number, connection}, &message.content);
    append(&connection->returned, message);
}

static void file_method(Connection *connection, amqp_channel_t number, amqp_method_t method)
{
    switch (method.id) {
    case AMQP_BASIC_ACK_METHOD: {
        const amqp_basic_ack_t *ack = method.decoded;
        file_confirm(connection, ack->delivery_tag, ack->multiple, ACKED);
        return;
    }
    case AMQP_BASIC_NACK_METHOD: {
        const amqp_basic_nack_t *nack = method.decoded;
        file_confirm(connection, nack->delivery_tag, nack->multiple, NACKED);
        return;
    }
    case AMQP_BASIC_RETURN_METHOD: file_return(connection, number, method.decoded); return;
    case AMQP_BASIC_CANCEL_METHOD: {
        const amqp_basic_cancel_t *cancel = method.decoded;
        add(connection->cancelled, "%s", text_of(cancel->consumer_tag));
        return;
    }
    case AMQP_CONNECTION_BLOCKED_METHOD: {
        const amqp_connection_blocked_t *blocked = method.decoded;
        add(connection->told, "blocked: %s", text_of(blocked->reason));
        return;
    }
    case AMQP_CONNECTION_UNBLOCKED_METHOD: add(connection->told, "unblocked"); return;
    case AMQP_CONNECTION_CLOSE_METHOD:
        note_closed(connection, (amqp_rpc_reply_t){.reply_type = AMQP_RESPONSE_SERVER_EXCEPTION, .reply = method});
        return;
    default: break;
    }
    char *said;
    int code =
        reply_code((amqp_rpc_reply_t){.reply_type = AMQP_RESPONSE_SERVER_EXCEPTION, .reply = method}, &said);
    fail("%s on channel %d, unasked: %d %s", amqp_method_name(method.id), number, code, said);
}

static void file_frame(Connection *connection)
{
    amqp_frame_t frame;
    must_send(amqp_simple_wait_frame(connection->state, &frame), "a frame");
    check(frame.frame_type == AMQP_FRAME_METHOD, "a frame of type %d instead of a method", frame.frame_type);
    file_method(connection, frame.channel, frame.payload.method);
}

bool work(Connection *connection, int timeout_ms)
{
    struct timeval timeout = {timeout_ms / 1000, timeout_ms % 1000 * 1000};
    amqp_envelope_t envelope;
    amqp_maybe_release_buffers(connection->state);
    amqp_rpc_reply_t reply = amqp_consume_message(connection->state, &envelope, &timeout, 0);
    if (is_library_error(reply, AMQP_STATUS_TIMEOUT))
        return false;
    if (reply.reply_type == AMQP_RESPONSE_NORMAL)
        file_delivery(connection, &envelope);
    else if (is_library_error(reply, AMQP_STATUS_UNEXPECTED_STATE))
        file_frame(connection);
    else
        note_closed(connection, reply);
    return true;
}

void work_until(const char *file, int line, Connection *connection, double until, const char *what)
{
    if (connection->is_closed)
        fail_at(
            file, line,
            text("%s: the connection was closed: %d %s", what, connection->close_code, connection->close_text));
    if (now() > until)
        fail_at(file, line, text("%s: not so in time", what));
    work(connection, 1000);
}
