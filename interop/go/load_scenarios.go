package main

import (
	"fmt"
	"strings"
	"time"

	amqp "github.com/rabbitmq/amqp091-go"
)

var loadScenarios = scenarios{
	"concurrent_publishing": concurrentPublishing,
	"slow_consumer":         slowConsumer,
	"unread_consumer":       unreadConsumer,
	"survives_restart":      survivesRestart,
	"automatic_recovery":    automaticRecovery,
}

const (
	publishers     = 8
	messagesEach   = 1000
	restartTimeout = 40 * time.Second
	retryInterval  = 200 * time.Millisecond
)

// Goroutines share a connection, each with a channel of its own.
func concurrentPublishing(s *session) {
	observer := s.channel()
	queue := s.sharedQueue(observer, "queue")
	inbox := consumeAutoAck(observer, queue)
	connection := s.connect()
	functions := make([]func(), publishers)
	for publisher := range functions {
		prefix := fmt.Sprint(publisher, " ")
		functions[publisher] = func() { publishConfirmed(connection, queue, prefix) }
	}
	parallel(functions...)
	received := map[string][]string{}
	for _, body := range bodies(inbox.take(publishers * messagesEach)) {
		publisher, number, _ := strings.Cut(body, " ")
		received[publisher] = append(received[publisher], number)
	}
	for publisher := range functions {
		equal(received[fmt.Sprint(publisher)], numbers(0, messagesEach), fmt.Sprint("messages of publisher ", publisher))
	}
	equal(bodies(inbox.finish()), []string{}, "further messages")
}

func publishConfirmed(connection *amqp.Connection, queue, prefix string) {
	ch := must(connection.Channel())
	check(ch.Confirm(false))
	confirmations := make([]*amqp.DeferredConfirmation, messagesEach)
	for n := range confirmations {
		confirmations[n] = must(ch.PublishWithDeferredConfirm(
			amqp.DefaultExchange, queue, false, false, amqp.Publishing{Body: []byte(fmt.Sprint(prefix, n))}))
	}
	for n, confirmation := range confirmations {
		isTrue(confirmation.Wait(), fmt.Sprintf("message %d is confirmed", n))
	}
}

// sendPadded publishes numbered messages of a size.
func sendPadded(ch *amqp.Channel, queue string, count, size int) {
	padding := " " + strings.Repeat(".", size)
	for _, number := range numbers(0, count) {
		send(ch, queue, number+padding)
	}
}

func withoutPadding(deliveries []amqp.Delivery) []string {
	texts := bodies(deliveries)
	for n := range texts {
		texts[n], _, _ = strings.Cut(texts[n], " ")
	}
	return texts
}

// undisturbed sends messages through another queue while one consumer does not keep up.
func undisturbed(s *session, publisher *amqp.Channel) {
	fast := s.sharedQueue(publisher, "fast")
	inbox := consumeAutoAck(s.channel(), fast)
	send(publisher, fast, numbers(0, 5000)...)
	equal(bodies(inbox.take(5000)), numbers(0, 5000), "messages of the fast consumer")
}

func slowConsumer(s *session) {
	publisher, slow := s.channel(), s.channel()
	queue := s.sharedQueue(publisher, "slow")
	check(slow.Qos(20, 0, false))
	inbox := consume(slow, queue)
	sendPadded(publisher, queue, 2000, 4096)
	undisturbed(s, publisher)
	deliveries := inbox.take(20)
	awaitReady(publisher, queue, 1980)
	check(deliveries[19].Ack(true))
	for len(deliveries) < 2000 {
		delivery := inbox.take(1)[0]
		check(delivery.Ack(false))
		deliveries = append(deliveries, delivery)
	}
	equal(withoutPadding(deliveries), numbers(0, 2000), "messages of the slow consumer")
	equal(bodies(inbox.finish()), []string{}, "further messages")
}

// The client itself reads on, whether or not anybody takes its deliveries, so it is the network that stops.
func unreadConsumer(s *session) {
	publisher := s.channel()
	queue := s.sharedQueue(publisher, "unread")
	connection, network := s.connectOver(amqp.Config{Heartbeat: time.Minute})
	inbox := consumeAutoAck(must(connection.Channel()), queue)
	network.stopReading()
	sendPadded(publisher, queue, 2000, 32768)
	undisturbed(s, publisher)
	network.resumeReading()
	equal(withoutPadding(inbox.take(2000)), numbers(0, 2000), "messages read at last")
	equal(bodies(inbox.finish()), []string{}, "further messages")
}

func persistent(bodies ...string) []amqp.Publishing {
	messages := texts(bodies...)
	for n := range messages {
		messages[n].DeliveryMode = amqp.Persistent
	}
	return messages
}

func survivesRestart(s *session) {
	connection := s.connect()
	closed := connection.NotifyClose(make(chan *amqp.Error, 1))
	ch := must(connection.Channel())
	exchange := s.exchangeWith(ch, amqp.ExchangeDirect, "exchange", exchangeOptions{durable: true})
	queue := s.durableQueue(ch, "queue", nil)
	check(bind(queue, exchange, "key")(ch))
	sendConfirmed(ch, queue, persistent(numbers(0, 10)...)...)
	sendConfirmed(ch, queue, texts("transient")...)
	for n := 0; n < 3; n++ {
		getOne(ch, queue, false)
	}
	s.ask("restart")
	awaitWithin(restartTimeout, closed, "the connection is closed")

	ch = must(s.reconnect().Channel())
	equal(inspect(ch, queue), amqp.Queue{Name: queue, Messages: 10}, "the queue after the restart")
	publishText(ch, exchange, "key", "new")
	expected := append([]string{"0 again", "1 again", "2 again"}, numbers(3, 10)...)
	equal(marked(takeAll(ch, queue)), append(expected, "new"), "messages")
}

// reconnect connects again to a broker that is on its way up.
func (s *session) reconnect() *amqp.Connection {
	until := time.Now().Add(restartTimeout)
	for {
		connection, err := amqp.Dial(s.url)
		if err == nil {
			return s.keep(connection)
		}
		isTrue(time.Now().Before(until), fmt.Sprint("the broker is back: ", err))
		time.Sleep(retryInterval)
	}
}

func automaticRecovery(s *session) {
	connection := s.connectWith(amqp.Config{Recovery: &amqp.Recovery{
		ReconnectionConfig: &amqp.ReconnectionConfig{
			MaxRetryCount: int(restartTimeout / retryInterval),
			RetryInterval: retryInterval,
		},
	}})
	ch := must(connection.Channel())
	exchange := s.exchange(ch, amqp.ExchangeTopic, "exchange")
	queue := s.queue(ch, "queue")
	check(bind(queue, exchange, "orders.*")(ch))
	check(ch.Qos(2, 0, false))
	check(ch.Confirm(false))
	inbox := consume(ch, queue)
	publishOrders := func(first, end int) {
		for _, number := range numbers(first, end) {
			isTrue(confirm(ch, exchange, "orders.new", texts(number)[0]), "message "+number+" is confirmed")
		}
	}
	publishOrders(0, 1)
	check(inbox.take(1)[0].Ack(false))

	states := make(chan *amqp.StateChanged, 10)
	connection.NotifyStateChange(states)
	s.ask("restart")
	for {
		state := awaitWithin(restartTimeout, states, "recovered")
		isTrue(state.To != amqp.StateClosed, fmt.Sprintf("the connection recovers: %v", state))
		if state.To == amqp.StateOpen {
			equal(len(state.SkippedTopologyEntities), 0, "what was not brought back")
			break
		}
	}
	publishOrders(1, 6)
	deliveries := inbox.take(2)
	awaitReady(ch, queue, 3)
	for len(deliveries) < 5 {
		check(deliveries[len(deliveries)-2].Ack(false))
		deliveries = append(deliveries, inbox.take(1)...)
	}
	equal(marked(deliveries), numbers(1, 6), "messages after the restart")
}
