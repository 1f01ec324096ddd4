package interop.harness;

import com.rabbitmq.client.impl.CredentialsProvider;
import java.time.Duration;

/** Credentials that have to be refreshed some day, so that the client asks a refresh service to do it. */
public record ExpiringCredentials(String username, String password) implements CredentialsProvider {
    @Override
    public String getUsername() {
        return username;
    }

    @Override
    public String getPassword() {
        return password;
    }

    @Override
    public Duration getTimeBeforeExpiration() {
        return Duration.ofHours(1);
    }
}
