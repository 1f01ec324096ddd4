package interop.harness;

import com.rabbitmq.client.LongString;
import com.rabbitmq.client.SaslMechanism;
import com.rabbitmq.client.impl.LongStringHelper;
import java.io.ByteArrayOutputStream;
import java.io.DataOutputStream;
import java.io.IOException;
import java.nio.charset.StandardCharsets;

/** A field table of LOGIN and PASSWORD without its length. */
public final class AmqPlain implements SaslMechanism {
    @Override
    public String getName() {
        return "AMQPLAIN";
    }

    @Override
    public LongString handleChallenge(LongString challenge, String username, String password) {
        ByteArrayOutputStream response = new ByteArrayOutputStream();
        try (DataOutputStream table = new DataOutputStream(response)) {
            writeField(table, "LOGIN", username);
            writeField(table, "PASSWORD", password);
        } catch (IOException e) {
            throw new AssertionError(e);
        }
        return LongStringHelper.asLongString(response.toByteArray());
    }

    private static void writeField(DataOutputStream table, String key, String value) throws IOException {
        byte[] text = value.getBytes(StandardCharsets.UTF_8);
        table.writeByte(key.length());
        table.writeBytes(key);
        table.writeByte('S');
        table.writeInt(text.length);
        table.write(text);
    }
}
