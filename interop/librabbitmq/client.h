/* librabbitmq as its users wrap it: connections that file what the broker sends, consumers that keep it. */

#ifndef CLIENT_H
#define CLIENT_H

#include "scenario.h"
#include "table.h"

#include <amqp.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* The highest publish number of which a connection keeps the confirm. */
#define CONFIRMS_MAX 1000

#define DEFAULT_FRAME_MAX 131072

typedef struct Message {
    char *consumer_tag;
    char *exchange;
    char *routing_key;
    uint64_t delivery_tag;
    bool redelivered;
    /* How many a get left behind. */
    uint32_t count_left;
    /* Why a message was returned. */
    int reply_code;
    char *reply_text;
    double arrived;
    amqp_message_t content;
} Message;

typedef struct Messages {
    Message *all;
    size_t count;
} Messages;

typedef enum Confirm { UNCONFIRMED, ACKED, NACKED } Confirm;

typedef struct Inbox Inbox;

typedef struct Connection {
    amqp_connection_state_t state;
    Inbox *inboxes;
    Messages returned;
    /* Since confirms were selected, on the one channel of a connection that has them. */
    int published;
    int confirmed;
    Confirm confirms[CONFIRMS_MAX + 1];
    /* "blocked low on memory, unblocked" */
    List *told;
    List *cancelled;
    bool is_closed;
    /* What the broker said, or the library's word for it and no code. */
    int close_code;
    char *close_text;
    struct Connection *next;
} Connection;

typedef struct Channel {
    amqp_connection_state_t state;
    amqp_channel_t number;
    Connection *connection;
} Channel;

/* A consumer that keeps what it receives, for a scenario to wait on. */
struct Inbox {
    Channel channel;
    char *tag;
    Messages messages;
    Inbox *next;
};

typedef struct Login {
    const char *user;
    const char *password;
    const char *vhost;
    int channel_max;
    int frame_max;
    int heartbeat;
    amqp_table_t properties;
} Login;

typedef struct QueueOptions {
    bool passive, durable, exclusive, auto_delete;
    amqp_table_t arguments;
} QueueOptions;

typedef struct ExchangeOptions {
    bool passive, durable, auto_delete, internal;
    amqp_table_t arguments;
} ExchangeOptions;

typedef struct ConsumeOptions {
    const char *tag;
    bool no_ack, exclusive;
    amqp_table_t arguments;
} ConsumeOptions;

/* Seconds that only go forward. */
double now(void);
void sleep_ms(int milliseconds);

/* The broker's address and login. */
bool set_broker(const char *url);
const struct amqp_connection_info *broker(void);

/* Connections. They are closed after the scenario. */
Connection *connect_to_broker(void);
Connection *connect_with(Login login);
/* One that wants to be told what librabbitmq does not ask for by itself. */
Connection *connect_with_capability(const char *capability);
/* NULL if that is not possible now. */
Connection *try_to_connect(void);
/* To a broker that is being restarted. */
Connection *reconnect(void);
void expect_login_refused(Login login, int code, const char *text);
void close_connection(Connection *connection);
void close_connections(void);

Channel open_channel(Connection *connection, amqp_channel_t number);
/* On a connection of its own. */
Channel new_channel(void);
void close_channel(Channel channel);

/* Fails unless the broker did what it was last asked on this connection. */
void must(Channel channel, const char *what);

/* What was last asked closed the channel for this reason; it is opened anew. */
#define refused(channel, code, text) refused_at(__FILE__, __LINE__, channel, code, text)
void refused_at(const char *file, int line, Channel channel, int code, const char *text);

/* The connection is closed, or will be, for this reason. */
#define expect_closed(connection, code, text) expect_closed_at(__FILE__, __LINE__, connection, code, text)
void expect_closed_at(const char *file, int line, Connection *connection, int code, const char *text);

/* Names that nothing else uses. */
char *name(const char *label);

/* Declares as asked; NULL if the broker refuses. */
amqp_queue_declare_ok_t *declare_queue(Channel channel, const char *name, QueueOptions options);
amqp_exchange_declare_ok_t *
declare_exchange(Channel channel, const char *name, const char *type, ExchangeOptions options);

/* A queue that goes with the channel's connection. */
char *new_queue(Channel channel, const char *label);
char *new_queue_with(Channel channel, const char *label, amqp_table_t arguments);
/* A queue that any connection may use, deleted after the scenario. */
char *shared_queue(Channel channel, const char *label, QueueOptions options);
char *new_exchange(Channel channel, const char *type, const char *label, ExchangeOptions options);

void bind_queue(Channel channel, const char *queue, const char *exchange, const char *key);
void bind_queue_with(
    Channel channel, const char *queue, const char *exchange, const char *key, amqp_table_t arguments);
void unbind_queue(Channel channel, const char *queue, const char *exchange, const char *key);
void delete_queue(Channel channel, const char *queue);

void set_prefetch(Channel channel, uint16_t count);
void select_confirms(Channel channel);

/* Publishing. */
void send_message(
    Channel channel,
    const char *exchange,
    const char *key,
    bool mandatory,
    const amqp_basic_properties_t *properties,
    amqp_bytes_t body);
void publish_to(Channel channel, const char *exchange, const char *key, const char *body);
void publish_with(Channel channel, const char *queue, const amqp_basic_properties_t *properties, const char *body);
void publish_numbers(Channel channel, const char *queue, int first, int end);
/* Bodies, one after the other, to a queue. */
#define publish(channel, queue, ...) publish_each(channel, queue, (const char *const[]){__VA_ARGS__, NULL})
void publish_each(Channel channel, const char *queue, const char *const *bodies);
/* Until everything published is confirmed. */
void await_confirms(Channel channel);

/* Consuming. */
Inbox *consume(Channel channel, const char *queue);
Inbox *consume_with(Channel channel, const char *queue, ConsumeOptions options);
void cancel(Inbox *inbox);
void await_messages(Inbox *inbox, size_t count);
Message *message_at(Inbox *inbox, size_t position);
Message *last_message(Inbox *inbox);
char *bodies(const Inbox *inbox);
/* The first so many, awaited. */
char *first_bodies(Inbox *inbox, size_t count);
/* "4, 5 again", with what is redelivered. */
char *marked_bodies(const Inbox *inbox);
void acknowledge(Channel channel, uint64_t tag);
void acknowledge_up_to(Channel channel, uint64_t tag);
void negatively_acknowledge(Channel channel, uint64_t tag, bool multiple, bool requeue);
void reject(Channel channel, uint64_t tag, bool requeue);

/* Getting. */
bool get(Channel channel, const char *queue, bool no_ack, Message *message);
/* One that has to be there, settled. */
Message take(Channel channel, const char *queue);
/* Everything in the queue. */
char *drain(Channel channel, const char *queue);
char *drain_marked(Channel channel, const char *queue);
char *body(const Message *message);
/* What a header holds, as text with its type, or "none". */
char *header(const Message *message, const char *key);

/* Takes in one thing the broker sends and files it; false if nothing comes in time. */
bool work(Connection *connection, int timeout_ms);

/* Works a connection until something is so. */
#define WAIT_S 15
#define await(connection, condition, what) await_for(WAIT_S, connection, condition, what)
#define await_for(seconds, connection, condition, what)                                                            \
    for (double until = now() + (seconds); !(condition);)                                                          \
    work_until(__FILE__, __LINE__, connection, until, what)
void work_until(const char *file, int line, Connection *connection, double until, const char *what);

/* For what the broker finishes in the background without telling anybody. */
#define eventually(condition, what)                                                                                \
    for (double until = now() + WAIT_S; !(condition); sleep_ms(10))                                                \
    check(now() < until, "%s: not so after %d s", what, WAIT_S)

/* RabbitMQ answers a passive declare ahead of publishes that are still on their way to the queue. */
void await_ready(Channel channel, const char *queue, uint32_t count);
/* What a passive declare says: messages ready and consumers. */
amqp_queue_declare_ok_t look_at(Channel channel, const char *queue);

#endif
