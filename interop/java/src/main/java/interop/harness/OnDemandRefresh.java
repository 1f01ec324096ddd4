package interop.harness;

import com.rabbitmq.client.impl.CredentialsProvider;
import com.rabbitmq.client.impl.CredentialsRefreshService;
import java.time.Duration;
import java.util.concurrent.Callable;
import java.util.concurrent.CompletableFuture;

/** Refreshes the secret of one connection when it is told to. */
public final class OnDemandRefresh implements CredentialsRefreshService {
    private final CompletableFuture<Callable<Boolean>> action = new CompletableFuture<>();

    /** Whether the broker accepted the new secret. */
    public boolean refresh() throws Exception {
        return action.get().call();
    }

    @Override
    public String register(CredentialsProvider provider, Callable<Boolean> refreshAction) {
        action.complete(refreshAction);
        return "only";
    }

    @Override
    public void unregister(CredentialsProvider provider, String id) {}

    @Override
    public boolean isApproachingExpiration(Duration timeBeforeExpiration) {
        return false;
    }
}
