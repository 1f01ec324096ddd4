package main

import (
	"fmt"
	"strconv"
	"sync"
	"time"

	amqp "github.com/rabbitmq/amqp091-go"
)

var publishingScenarios = scenarios{
	"publisher_confirms":    publisherConfirms,
	"confirm_unroutable":    confirmUnroutable,
	"mandatory_return":      mandatoryReturn,
	"return_before_confirm": returnBeforeConfirm,
	"nacked_publish":        nackedPublish,
	"connection_blocked":    connectionBlocked,
	"user_id":               userID,
}

// An alarm is set and lifted by a command that has to start first.
const alarmTimeout = 20 * time.Second

func publisherConfirms(s *session) {
	ch := s.channel()
	queue := s.durableQueue(ch, "queue", nil)
	check(ch.Confirm(false))
	message := func(n int) amqp.Publishing {
		mode := amqp.Transient
		if n%2 == 1 {
			mode = amqp.Persistent
		}
		return amqp.Publishing{DeliveryMode: mode, Body: []byte(strconv.Itoa(n))}
	}
	for n := 0; n < 100; n++ {
		isTrue(confirm(ch, amqp.DefaultExchange, queue, message(n)), fmt.Sprintf("message %d is confirmed", n))
	}
	confirms := ch.NotifyPublish(make(chan amqp.Confirmation, 900))
	for n := 100; n < 1000; n++ {
		equal(ch.GetNextPublishSeqNo(), uint64(n+1), "sequence number")
		publish(ch, amqp.DefaultExchange, queue, message(n))
	}
	for n := 100; n < 1000; n++ {
		equal(await(confirms, "a confirm"), amqp.Confirmation{DeliveryTag: uint64(n + 1), Ack: true}, "confirm")
	}
	equal(drain(ch, queue), numbers(0, 1000), "messages")
	equal(len(confirms), 0, "further confirms")
}

func confirmUnroutable(s *session) {
	ch := s.channel()
	check(ch.Confirm(false))
	for _, exchange := range []string{amqp.DefaultExchange, "amq.fanout"} {
		isTrue(confirm(ch, exchange, s.name("nobody"), amqp.Publishing{}), "what reaches no queue is confirmed")
	}
}

func mandatoryReturn(s *session) {
	ch := s.channel()
	queue := s.queue(ch, "queue")
	returns := ch.NotifyReturn(make(chan amqp.Return, 3))
	lost := amqp.Publishing{MessageId: "lost", Headers: amqp.Table{"kept": int32(1)}, Body: []byte("lost")}
	check(ch.Publish(amqp.DefaultExchange, queue, true, false, amqp.Publishing{Body: []byte("routed")}))
	check(ch.Publish("amq.direct", s.name("nobody"), false, false, amqp.Publishing{Body: []byte("not mandatory")}))
	check(ch.Publish("amq.direct", s.name("nobody"), true, false, lost))
	equal(await(returns, "a return"), amqp.Return{
		ReplyCode:  amqp.NoRoute,
		ReplyText:  "NO_ROUTE",
		Exchange:   "amq.direct",
		RoutingKey: s.name("nobody"),
		MessageId:  "lost",
		Headers:    amqp.Table{"kept": int32(1)},
		Body:       []byte("lost"),
	}, "return")
	equal(drain(ch, queue), []string{"routed"}, "routed")
	equal(len(returns), 0, "further returns")
}

// The client hands over what it reads one by one, so a return that came first is there when the confirm is.
func returnBeforeConfirm(s *session) {
	ch := s.channel()
	queue := s.queue(ch, "queue")
	check(ch.Confirm(false))
	returns := ch.NotifyReturn(make(chan amqp.Return, 1))
	confirms := ch.NotifyPublish(make(chan amqp.Confirmation, 1))
	for n := 0; n < 20; n++ {
		message := amqp.Publishing{Body: []byte(strconv.Itoa(n))}
		check(ch.Publish(amqp.DefaultExchange, s.name("nobody"), true, false, message))
		isTrue(await(confirms, "a confirm").Ack, "the returned message is confirmed")
		equal(len(returns), 1, "returns when the confirm is there")
		equal(string((<-returns).Body), strconv.Itoa(n), "returned message")
		check(ch.Publish(amqp.DefaultExchange, queue, true, false, message))
		isTrue(await(confirms, "a confirm").Ack, "the routed message is confirmed")
		equal(len(returns), 0, "returns of a routed message")
	}
	equal(drain(ch, queue), numbers(0, 20), "routed messages")
}

func nackedPublish(s *session) {
	ch := s.channel()
	queue := s.queueWith(ch, "queue", amqp.Table{
		amqp.QueueMaxLenArg: 3, amqp.QueueOverflowArg: amqp.QueueOverflowRejectPublish})
	check(ch.Confirm(false))
	confirmed := []bool{}
	for _, message := range texts("0", "1", "2", "3", "4") {
		confirmed = append(confirmed, confirm(ch, amqp.DefaultExchange, queue, message))
	}
	equal(confirmed, []bool{true, true, true, false, false}, "confirmed")
	equal(drain(ch, queue), numbers(0, 3), "messages")
	isTrue(confirm(ch, amqp.DefaultExchange, queue, amqp.Publishing{}), "what fits again is confirmed")
}

// RabbitMQ blocks a connection, and says so, when it publishes while the alarm is on.
func connectionBlocked(s *session) {
	observer := s.channel()
	queue := s.sharedQueue(observer, "queue")
	connection := s.connect()
	blockings := connection.NotifyBlocked(make(chan amqp.Blocking, 2))
	ch := must(connection.Channel())
	check(ch.Confirm(false))
	var once sync.Once
	unblock := func() { once.Do(func() { s.ask("unblock") }) }
	defer unblock()

	s.ask("block")
	eventuallyWithin(alarmTimeout, func() bool {
		send(ch, queue, "probe")
		return len(blockings) > 0
	}, "told that the connection is blocked")
	equal(<-blockings, amqp.Blocking{Active: true, Reason: "low on memory"}, "blocked")
	waiting := must(ch.PublishWithDeferredConfirm(amqp.DefaultExchange, queue, false, false, texts("waits")[0]))
	select {
	case <-waiting.Done():
		fail("a message was confirmed while the connection was blocked")
	case <-time.After(300 * time.Millisecond):
	}
	isTrue(!contains(drain(observer, queue), "waits"), "the message waits")

	unblock()
	equal(awaitWithin(alarmTimeout, blockings, "told that the connection is unblocked"), amqp.Blocking{}, "unblocked")
	isTrue(waiting.Wait(), "the message is confirmed")
	isTrue(contains(drain(observer, queue), "waits"), "the message arrives")
}

func contains(texts []string, wanted string) bool {
	for _, text := range texts {
		if text == wanted {
			return true
		}
	}
	return false
}

func userID(s *session) {
	connection := s.connect()
	ch := must(connection.Channel())
	queue := s.queue(ch, "queue")
	send(ch, queue, "anonymous")
	publish(ch, amqp.DefaultExchange, queue, amqp.Publishing{UserId: s.uri.Username, Body: []byte("signed")})
	equal(drain(ch, queue), []string{"anonymous", "signed"}, "messages")
	text := fmt.Sprintf("PRECONDITION_FAILED - user_id property set to 'somebody' but authenticated user was '%s'",
		s.uri.Username)
	channelError(connection, amqp.PreconditionFailed, text, func(forger *amqp.Channel) error {
		publish(forger, amqp.DefaultExchange, queue, amqp.Publishing{UserId: "somebody", Body: []byte("forged")})
		return nil
	})
	equal(drain(ch, queue), []string{}, "forged messages")
}
