package main

import (
	"fmt"
	"strings"
	"time"

	amqp "github.com/rabbitmq/amqp091-go"
)

var queueScenarios = scenarios{
	"queue_declare":          queueDeclare,
	"queue_mismatch":         queueMismatch,
	"server_named_queue":     serverNamedQueue,
	"queue_purge_and_delete": queuePurgeAndDelete,
	"exclusive_queue":        exclusiveQueue,
	"auto_delete_queue":      autoDeleteQueue,
	"message_ttl":            messageTTL,
	"queue_expires":          queueExpires,
	"max_length":             maxLength,
	"priority_queue":         priorityQueue,
	"single_active_consumer": singleActiveConsumer,
	"quorum_queue":           quorumQueue,
	"long_and_unicode_names": longAndUnicodeNames,
}

func queueDeclare(s *session) {
	ch := s.channel()
	name := s.name("queue")
	for n := 0; n < 2; n++ {
		declared := must(ch.QueueDeclare(name, false, false, true, false, nil))
		equal(declared, amqp.Queue{Name: name}, "declare-ok")
	}
	send(ch, name, "a", "b", "c")
	awaitReady(ch, name, 3)
	equal(inspect(ch, name), amqp.Queue{Name: name, Messages: 3}, "passive declare-ok")
	consume(ch, name).take(3)
	declared := must(ch.QueueDeclare(name, false, false, true, false, nil))
	equal(declared, amqp.Queue{Name: name, Consumers: 1}, "ready messages and consumers")
}

func queueMismatch(s *session) {
	connection := s.connect()
	owner := must(connection.Channel())
	ttl := amqp.Table{amqp.QueueMessageTTLArg: 60000}
	plain, limited := s.sharedQueue(owner, "plain"), s.sharedQueueWith(owner, "limited", false, ttl)
	inequivalent := func(argument, queue, difference string) string {
		return fmt.Sprintf("PRECONDITION_FAILED - inequivalent arg '%s' for queue '%s' in vhost '/': %s",
			argument, queue, difference)
	}
	const flag = "received 'true' but current is 'false'"
	for _, other := range []struct {
		queue                          string
		durable, autoDelete, exclusive bool
		arguments                      amqp.Table
		code                           int
		text                           string
	}{
		{plain, true, false, false, nil, amqp.PreconditionFailed, inequivalent("durable", plain, flag)},
		{plain, false, true, false, nil, amqp.PreconditionFailed, inequivalent("auto_delete", plain, flag)},
		{plain, false, false, false, ttl, amqp.PreconditionFailed, inequivalent("x-message-ttl", plain,
			"received the value '60000' of type 'signedint' but current is none")},
		{limited, false, false, false, nil, amqp.PreconditionFailed, inequivalent("x-message-ttl", limited,
			"received none but current is the value '60000' of type 'signedint'")},
		{plain, false, false, true, nil, amqp.ResourceLocked, lockedText(plain)},
	} {
		channelError(connection, other.code, other.text, func(ch *amqp.Channel) error {
			_, err := ch.QueueDeclare(other.queue, other.durable, other.autoDelete, other.exclusive, false, other.arguments)
			return err
		})
	}
	equal(must(owner.QueueDeclare(limited, false, false, false, false, ttl)).Name, limited, "the same again")
}

func serverNamedQueue(s *session) {
	ch := s.channel()
	queue := must(ch.QueueDeclare("", false, false, true, false, nil)).Name
	isTrue(strings.HasPrefix(queue, "amq.gen-"), "a server-named queue is called amq.gen-…, not "+queue)
	last := must(ch.QueueDeclare("", false, false, true, false, nil)).Name
	isTrue(last != queue, "two server-named queues have two names")
	key := s.name("key")
	check(bind("", "amq.direct", key)(ch))
	publishText(ch, "amq.direct", key, "to the last declared")
	equal(drain(ch, queue), []string{}, "messages of the first")
	equal(drain(ch, last), []string{"to the last declared"}, "messages of the last")
}

func queuePurgeAndDelete(s *session) {
	ch := s.channel()
	queue := s.queue(ch, "queue")
	send(ch, queue, "a", "b", "c")
	equal(must(ch.QueuePurge(queue, false)), 3, "messages purged")
	equal(drain(ch, queue), []string{}, "messages after the purge")
	send(ch, queue, "d", "e")
	equal(must(ch.QueueDelete(queue, false, false, false)), 2, "messages deleted with the queue")
	equal(must(ch.QueueDelete(queue, false, false, false)), 0, "messages deleted with no queue")
	check(ch.ExchangeDelete(s.name("never declared"), false, false))
}

func noQueue(queue string) string {
	return fmt.Sprintf("NOT_FOUND - no queue '%s' in vhost '/'", queue)
}

func exclusiveQueue(s *session) {
	connection := s.connect()
	queue := s.queue(must(connection.Channel()), "queue")
	check(connection.Close())
	channelError(s.connect(), amqp.NotFound, noQueue(queue), declarePassively(queue))
}

func autoDeleteQueue(s *session) {
	connection := s.connect()
	ch := must(connection.Channel())
	queue := s.sharedQueueWith(ch, "queue", true, nil)
	send(ch, queue, "without a consumer")
	first, last := consume(ch, queue), consume(ch, queue)
	first.finish()
	equal(inspect(ch, queue).Consumers, 1, "consumers")
	last.finish()
	eventually(func() bool { return !exists(connection, queue) }, "the queue is gone")
	channelError(connection, amqp.NotFound, noQueue(queue), declarePassively(queue))
}

func exists(connection *amqp.Connection, queue string) bool {
	ch := must(connection.Channel())
	defer ch.Close()
	return declarePassively(queue)(ch) == nil
}

func messageTTL(s *session) {
	connection := s.connect()
	ch := must(connection.Channel())
	limited := s.queueWith(ch, "limited", amqp.Table{amqp.QueueMessageTTLArg: 500})
	mixed := s.queue(ch, "mixed")
	started := time.Now()
	sendConfirmed(ch, limited, amqp.Publishing{Body: []byte("older")})
	sendConfirmed(ch, mixed,
		amqp.Publishing{Expiration: "100", Body: []byte("older")},
		amqp.Publishing{Expiration: "60000", Body: []byte("younger")})
	awaitReady(ch, mixed, 1)
	isTrue(time.Since(started) >= 100*time.Millisecond, "the expiration has passed")
	equal(drain(ch, mixed), []string{"younger"}, "messages with an expiration")
	awaitReady(ch, limited, 0)
	isTrue(time.Since(started) >= 500*time.Millisecond, "the TTL has passed")
	send(ch, limited, "younger")
	equal(drain(ch, limited), []string{"younger"}, "messages of the queue with a TTL")

	channelError(connection, amqp.PreconditionFailed, "PRECONDITION_FAILED - invalid expiration 'soon': no_integer",
		func(ch *amqp.Channel) error {
			publish(ch, amqp.DefaultExchange, mixed, amqp.Publishing{Expiration: "soon"})
			return nil
		})
}

// To ask for a queue is to use it, so what is published to it tells whether it is there.
func queueExpires(s *session) {
	ch := s.channel()
	check(ch.Confirm(false))
	returns := ch.NotifyReturn(make(chan amqp.Return, 1))
	routed := func(queue string) bool {
		confirmation := must(ch.PublishWithDeferredConfirm(amqp.DefaultExchange, queue, true, false, amqp.Publishing{}))
		isTrue(confirmation.Wait(), "the message is confirmed")
		select {
		case <-returns:
			return false
		default:
			return true
		}
	}
	expires := amqp.Table{amqp.QueueTTLArg: 300}
	started := time.Now()
	used, unused := s.sharedQueueWith(ch, "used", false, expires), s.sharedQueueWith(ch, "unused", false, expires)
	inbox := consumeAutoAck(ch, used)
	eventually(func() bool { return !routed(unused) }, "the unused queue is gone")
	isTrue(time.Since(started) >= 300*time.Millisecond, "its time has passed")
	isTrue(routed(used), "the queue with a consumer is there")
	inbox.finish()
	eventually(func() bool { return !routed(used) }, "the queue is gone after its consumer")
}

func maxLength(s *session) {
	ch := s.channel()
	short := s.queueWith(ch, "short", amqp.Table{amqp.QueueMaxLenArg: 3})
	send(ch, short, numbers(0, 10)...)
	equal(drain(ch, short), numbers(7, 10), "the last three")
	small := s.queueWith(ch, "small", amqp.Table{amqp.QueueMaxLenBytesArg: 10})
	send(ch, small, "aaaa", "bbbb", "cc", "dddd", "e")
	equal(drain(ch, small), []string{"cc", "dddd", "e"}, "the last ten bytes")
}

func priorityQueue(s *session) {
	ch := s.channel()
	queue := s.queueWith(ch, "queue", amqp.Table{"x-max-priority": 10})
	for _, message := range []amqp.Publishing{
		{Body: []byte("none")},
		{Body: []byte("one"), Priority: 1},
		{Body: []byte("five"), Priority: 5},
		{Body: []byte("ten"), Priority: 10},
		{Body: []byte("above"), Priority: 200},
		{Body: []byte("ten again"), Priority: 10},
		{Body: []byte("five again"), Priority: 5},
		{Body: []byte("none again")},
	} {
		publish(ch, amqp.DefaultExchange, queue, message)
	}
	expected := []string{"ten", "above", "ten again", "five", "five again", "one", "none", "none again"}
	equal(drain(ch, queue), expected, "order")
}

func singleActiveConsumer(s *session) {
	ch := s.channel()
	queue := s.queueWith(ch, "queue", amqp.Table{amqp.SingleActiveConsumerArg: true})
	first, second := consumeAutoAck(ch, queue), consumeAutoAck(ch, queue)
	send(ch, queue, numbers(0, 10)...)
	equal(bodies(first.take(10)), numbers(0, 10), "messages of the first consumer")
	equal(bodies(first.finish()), []string{}, "messages of the first consumer beyond that")
	send(ch, queue, numbers(10, 20)...)
	equal(bodies(second.take(10)), numbers(10, 20), "messages of the second consumer")
	equal(bodies(second.finish()), []string{}, "messages of the second consumer beyond that")
}

func quorumQueue(s *session) {
	ch := s.channel()
	dead := s.queue(ch, "dead")
	queue := s.durableQueue(ch, "queue", amqp.Table{
		amqp.QueueTypeArg:           amqp.QueueTypeQuorum,
		"x-delivery-limit":          2,
		"x-dead-letter-exchange":    amqp.DefaultExchange,
		"x-dead-letter-routing-key": dead,
	})
	sendConfirmed(ch, queue, texts("poison")...)
	inbox := consume(ch, queue)
	for _, count := range []any{nil, int64(1), int64(2)} {
		delivery := inbox.take(1)[0]
		equal(delivery.Headers["x-delivery-count"], count, "x-delivery-count")
		equal(delivery.Redelivered, count != nil, "redelivered")
		check(delivery.Nack(false, true))
	}
	letter := consumeAutoAck(ch, dead).take(1)[0]
	equal(string(letter.Body), "poison", "dead letter")
	death := deaths(letter)[0]
	equal(death["reason"], any("delivery_limit"), "reason")
	equal(death["queue"], any(queue), "queue")
	equal(bodies(inbox.finish()), []string{}, "messages delivered beyond the limit")
}

func longAndUnicodeNames(s *session) {
	ch := s.channel()
	long := s.name("long")
	long += strings.Repeat("x", 255-len(long))
	equal(must(ch.QueueDeclare(long, false, false, true, false, nil)).Name, long, "long name")
	send(ch, long, "long")
	equal(drain(ch, long), []string{"long"}, "messages of the long name")

	queue := s.queue(ch, "зайчонок-野兎-🐇")
	equal(queue, s.name("зайчонок-野兎-🐇"), "name outside ASCII")
	exchange := s.exchange(ch, amqp.ExchangeTopic, "größe")
	check(bind(queue, exchange, "straße.*")(ch))
	publishText(ch, exchange, "straße.жук", "unicode")
	message := getOne(ch, queue, true)
	equal([]string{message.Exchange, message.RoutingKey, string(message.Body)},
		[]string{exchange, "straße.жук", "unicode"}, "message")
}
