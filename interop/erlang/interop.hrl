-include_lib("amqp_client/include/amqp_client.hrl").

-record(session, {scenario, url, params, token, belongings}).
