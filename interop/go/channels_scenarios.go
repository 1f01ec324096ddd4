package main

import (
	"fmt"

	amqp "github.com/rabbitmq/amqp091-go"
)

var channelScenarios = scenarios{
	"channel_open_close":            channelOpenClose,
	"thousand_channels":             thousandChannels,
	"error_closes_only_the_channel": errorClosesOnlyTheChannel,
	"not_found":                     notFound,
	"access_refused":                accessRefused,
	"resource_locked":               resourceLocked,
	"precondition_failed":           preconditionFailed,
	"duplicate_consumer_tag":        duplicateConsumerTag,
	"not_implemented":               notImplemented,
}

// attempt is something that is done on a channel, and the text with which the broker closes it for that.
type attempt struct {
	text   string
	action func(*amqp.Channel) error
}

func attemptAll(connection *amqp.Connection, code int, attempts []attempt) {
	for _, attempt := range attempts {
		channelError(connection, code, attempt.text, attempt.action)
	}
}

func declarePassively(queue string) func(*amqp.Channel) error {
	return func(ch *amqp.Channel) error {
		_, err := ch.QueueDeclarePassive(queue, false, false, false, false, nil)
		return err
	}
}

func getFrom(queue string) func(*amqp.Channel) error {
	return func(ch *amqp.Channel) error {
		_, _, err := ch.Get(queue, false)
		return err
	}
}

func consumeFrom(queue string, options consumeOptions) func(*amqp.Channel) error {
	return func(ch *amqp.Channel) error {
		_, err := consumeWith(ch, queue, options)
		return err
	}
}

func purge(queue string) func(*amqp.Channel) error {
	return func(ch *amqp.Channel) error {
		_, err := ch.QueuePurge(queue, false)
		return err
	}
}

func deleteQueue(queue string, ifUnused, ifEmpty bool) func(*amqp.Channel) error {
	return func(ch *amqp.Channel) error {
		_, err := ch.QueueDelete(queue, ifUnused, ifEmpty, false)
		return err
	}
}

func bind(queue, exchange, key string) func(*amqp.Channel) error {
	return func(ch *amqp.Channel) error { return ch.QueueBind(queue, key, exchange, false, nil) }
}

func publishTo(exchange string) func(*amqp.Channel) error {
	return func(ch *amqp.Channel) error {
		publishText(ch, exchange, "key", "refused")
		return nil
	}
}

// One number is all there is, so each channel takes that of the one before.
func channelOpenClose(s *session) {
	connection := s.connectWith(amqp.Config{ChannelMax: 1})
	for n := 0; n < 200; n++ {
		ch := must(connection.Channel())
		_, err := connection.Channel()
		equal[error](err, amqp.ErrChannelMax, "error of a second channel")
		check(ch.Close())
	}
}

func thousandChannels(s *session) {
	publisher := s.channel()
	queue := s.sharedQueue(publisher, "queue")
	connection := s.connect()
	inboxes := make([]*inbox, 1000)
	for n := range inboxes {
		ch := must(connection.Channel())
		check(ch.Qos(1, 0, false))
		inboxes[n] = consume(ch, queue)
	}
	send(publisher, queue, numbers(0, 1000)...)
	received := map[string]bool{}
	for _, inbox := range inboxes {
		received[string(inbox.take(1)[0].Body)] = true
	}
	for _, number := range numbers(0, 1000) {
		isTrue(received[number], "message "+number+" arrived")
	}
	for _, inbox := range inboxes {
		check(inbox.channel.Ack(1, false))
		equal(bodies(inbox.finish()), []string{}, "further messages of a channel")
		check(inbox.channel.Close())
	}
	equal(drain(publisher, queue), []string{}, "messages left")
}

// There are numbers for two channels, so that the one after the error takes the number of the closed one.
func errorClosesOnlyTheChannel(s *session) {
	connection := s.connectWith(amqp.Config{ChannelMax: 2})
	healthy := must(connection.Channel())
	queue, held := s.queue(healthy, "healthy"), s.queue(healthy, "held")
	inbox := consume(healthy, queue)
	channelError(connection, amqp.NotFound, noQueue("nothing"), func(faulty *amqp.Channel) error {
		send(faulty, held, "unsettled")
		getOne(faulty, held, false)
		return declarePassively("nothing")(faulty)
	})
	send(healthy, queue, "still here")
	equal(bodies(inbox.take(1)), []string{"still here"}, "messages of the other channel")
	next := must(connection.Channel())
	equal(marked(takeAll(next, held)), []string{"unsettled again"}, "messages of the closed channel")
}

func notFound(s *session) {
	connection := s.connect()
	owner := must(connection.Channel())
	queue := s.queue(owner, "queue")
	exchange := s.exchange(owner, amqp.ExchangeDirect, "exchange")
	const noExchange = "NOT_FOUND - no exchange 'nothing' in vhost '/'"
	attemptAll(connection, amqp.NotFound, []attempt{
		{noQueue("nothing"), declarePassively("nothing")},
		{noQueue("nothing"), getFrom("nothing")},
		{noQueue("nothing"), consumeFrom("nothing", consumeOptions{})},
		{noQueue("nothing"), purge("nothing")},
		{noQueue("nothing"), bind("nothing", exchange, "key")},
		{noExchange, bind(queue, "nothing", "key")},
		{noExchange, func(ch *amqp.Channel) error {
			return ch.ExchangeDeclarePassive("nothing", amqp.ExchangeDirect, false, false, false, false, nil)
		}},
		{noExchange, func(ch *amqp.Channel) error { return ch.ExchangeBind(exchange, "key", "nothing", false, nil) }},
		{noExchange, publishTo("nothing")},
		{"NOT_FOUND - no previously declared queue", consumeFrom("", consumeOptions{})},
	})
	roundTrip(s, connection)
}

func accessRefused(s *session) {
	connection := s.connect()
	owner := must(connection.Channel())
	queue := s.queue(owner, "queue")
	internal := s.exchangeWith(owner, amqp.ExchangeFanout, "internal", exchangeOptions{internal: true})
	const defaultExchange = "ACCESS_REFUSED - operation not permitted on the default exchange"
	attemptAll(connection, amqp.AccessRefused, []attempt{
		{
			"ACCESS_REFUSED - queue name 'amq.interop' contains reserved prefix 'amq.*'",
			func(ch *amqp.Channel) error {
				_, err := ch.QueueDeclare("amq.interop", false, false, false, false, nil)
				return err
			},
		},
		{
			"ACCESS_REFUSED - exchange name 'amq.interop' contains reserved prefix 'amq.*'",
			func(ch *amqp.Channel) error {
				return ch.ExchangeDeclare("amq.interop", amqp.ExchangeDirect, false, false, false, false, nil)
			},
		},
		{defaultExchange, bind(queue, amqp.DefaultExchange, "key")},
		{defaultExchange, func(ch *amqp.Channel) error { return ch.QueueUnbind(queue, "key", amqp.DefaultExchange, nil) }},
		{defaultExchange, func(ch *amqp.Channel) error { return ch.ExchangeDelete(amqp.DefaultExchange, false, false) }},
		{
			fmt.Sprintf("ACCESS_REFUSED - cannot publish to internal exchange '%s' in vhost '/'", internal),
			publishTo(internal),
		},
	})
}

func lockedText(queue string) string {
	text := fmt.Sprintf("RESOURCE_LOCKED - cannot obtain exclusive access to locked queue '%s' in vhost '/'. It could be "+
		"originally declared on another connection or the exclusive property value does not match that of the "+
		"original declaration.", queue)
	if len(text) > 255 {
		return text[:255]
	}
	return text
}

func resourceLocked(s *session) {
	owner := s.channel()
	queue := s.queue(owner, "queue")
	text := lockedText(queue)
	attemptAll(s.connect(), amqp.ResourceLocked, []attempt{
		{text, func(ch *amqp.Channel) error {
			_, err := ch.QueueDeclare(queue, false, false, true, false, nil)
			return err
		}},
		{text, declarePassively(queue)},
		{text, getFrom(queue)},
		{text, consumeFrom(queue, consumeOptions{})},
		{text, purge(queue)},
		{text, deleteQueue(queue, false, false)},
		{text, bind(queue, "amq.fanout", "")},
	})
	send(owner, queue, "mine")
	equal(drain(owner, queue), []string{"mine"}, "messages of the owner")
}

func preconditionFailed(s *session) {
	connection := s.connect()
	owner := must(connection.Channel())
	queue := s.queue(owner, "queue")
	exchange := s.exchange(owner, amqp.ExchangeFanout, "exchange")
	check(bind(queue, exchange, "")(owner))

	channelError(connection, amqp.PreconditionFailed, "PRECONDITION_FAILED - unknown delivery tag 99",
		func(ch *amqp.Channel) error { return ch.Ack(99, false) })
	channelError(connection, amqp.PreconditionFailed, "PRECONDITION_FAILED - unknown delivery tag 1",
		func(ch *amqp.Channel) error {
			send(ch, queue, "once")
			delivery := getOne(ch, queue, false)
			check(delivery.Ack(false))
			return delivery.Ack(false)
		})

	send(owner, queue, "kept")
	awaitReady(owner, queue, 1)
	notEmpty := fmt.Sprintf("PRECONDITION_FAILED - queue '%s' in vhost '/' not empty", queue)
	channelError(connection, amqp.PreconditionFailed, notEmpty, deleteQueue(queue, false, true))
	consume(owner, queue)
	queueInUse := fmt.Sprintf("PRECONDITION_FAILED - queue '%s' in vhost '/' in use", queue)
	channelError(connection, amqp.PreconditionFailed, queueInUse, deleteQueue(queue, true, false))
	exchangeInUse := fmt.Sprintf("PRECONDITION_FAILED - exchange '%s' in vhost '/' in use", exchange)
	channelError(connection, amqp.PreconditionFailed, exchangeInUse,
		func(ch *amqp.Channel) error { return ch.ExchangeDelete(exchange, true, false) })
}

func duplicateConsumerTag(s *session) {
	bystander := s.connect()
	queue := s.sharedQueue(must(bystander.Channel()), "queue")
	connectionError(s.connect(), amqp.NotAllowed, "NOT_ALLOWED - attempt to reuse consumer tag 'twice'",
		func(ch *amqp.Channel) error {
			must(consumeWith(ch, queue, consumeOptions{tag: "twice"}))
			return consumeFrom(queue, consumeOptions{tag: "twice"})(ch)
		})
	roundTrip(s, bystander)
}

func notImplemented(s *session) {
	bystander := s.connect()
	for _, attempt := range []attempt{
		{"NOT_IMPLEMENTED - prefetch_size!=0 (1024)", func(ch *amqp.Channel) error { return ch.Qos(0, 1024, false) }},
		{"NOT_IMPLEMENTED - requeue=false", func(ch *amqp.Channel) error { return ch.Recover(false) }},
		{"NOT_IMPLEMENTED - active=false", func(ch *amqp.Channel) error { return ch.Flow(false) }},
	} {
		connectionError(s.connect(), amqp.NotImplemented, attempt.text, attempt.action)
	}
	roundTrip(s, bystander)
}
