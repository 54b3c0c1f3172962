package dev.edgefm.bundle;

import java.util.ArrayList;
import java.util.List;

/**
 * Measures how long a model takes on a phone. In each round the model is loaded anew and warmed up before it is timed,
 * on the first golden input; a phone that throttles is given a moment to cool. Statistics are left to who reads the
 * record.
 */
public final class Benchmark {
    private static final long COOLING_STEP_MS = 1000;
    private final BenchmarkPlan plan;
    private final Phone phone;
    private final List<BenchmarkTurn> turns = new ArrayList<>();
    private final List<Integer> thermal = new ArrayList<>();
    private final List<String> log = new ArrayList<>();
    private Contract contract;
    private String runsBy = "";
    private String fallback;
    private String failure;
    private String stopped = "";
    private long spentNs;

    /** What a benchmark needs of a phone. */
    public interface Phone {
        /** Loads the model by what is asked for, or by what else loads. */
        Loaded load(String asked);

        /** Returns the thermal status, 0 (none) to 6 (shutdown); null where the phone does not tell it. */
        Integer thermalStatus();

        /** Returns what this process logged since a moment, in milliseconds of 1970; empty where that cannot be read. */
        List<String> log(long since);
    }

    /** A model that is ready. */
    public interface Loaded extends AutoCloseable {
        EdgeModel model();

        /** Returns what runs it, such as "Interpreter, CPU". */
        String runsBy();

        /** Returns why it is not run by what was asked for; null where it is. */
        String fallback();

        @Override
        void close();
    }

    /** Is told how far a benchmark is. */
    public interface Watcher {
        /** Returns whether to go on. */
        boolean round(int done, int rounds);
    }

    public Benchmark(BenchmarkPlan plan, Phone phone) {
        this.plan = plan;
        this.phone = phone;
    }

    /** Takes the rounds; what a round fails with ends the benchmark and stands in the record. */
    public void run(Watcher watcher) {
        long start = System.nanoTime();
        long since = System.currentTimeMillis();
        thermal.add(phone.thermalStatus());
        try {
            for (int round = 0; round < plan.rounds() && stopped.isEmpty(); round++) {
                turns.add(turn());
                thermal.add(phone.thermalStatus());
                spentNs = System.nanoTime() - start;
                boolean last = round + 1 == plan.rounds();
                if (!watcher.round(round + 1, plan.rounds()) && !last) {
                    stopped = "it was ended by hand after " + (round + 1) + " of " + plan.rounds() + " rounds";
                } else if (spentNs > plan.budgetSeconds() * 1e9 && !last) {
                    stopped = "the time budget of " + plan.budgetSeconds() + " s was used up";
                }
            }
            stopped = stopped.isEmpty() ? "all " + plan.rounds() + " rounds were taken" : stopped;
        } catch (RuntimeException error) {
            failure = error.getMessage() == null ? error.toString() : error.getMessage();
            stopped = "the model failed";
        }
        log.addAll(phone.log(since));
    }

    private BenchmarkTurn turn() {
        Integer before = cooled();
        long start = System.nanoTime();
        try (Loaded loaded = phone.load(plan.asked())) {
            long loadNs = System.nanoTime() - start;
            EdgeModel model = loaded.model();
            contract = model.contract();
            runsBy = loaded.runsBy();
            fallback = loaded.fallback();
            model.feed(model.goldenInput());
            long[] warmup = invokes(model, 1 + plan.warmupInvokes());
            long[] alone = invokes(model, plan.roundInvokes());
            long[] whole = model.takesPixels() ? endToEnd(model, plan.roundInvokes()) : new long[0];
            return new BenchmarkTurn(before, phone.thermalStatus(), loadNs, warmup[0], warmup, alone, whole);
        }
    }

    private Integer cooled() {
        long until = System.nanoTime() + (long) (plan.coolingSeconds() * 1e9);
        Integer status = phone.thermalStatus();
        while (status != null && status > 0 && System.nanoTime() < until) {
            try {
                Thread.sleep(COOLING_STEP_MS);
            } catch (InterruptedException ended) {
                Thread.currentThread().interrupt();
                throw new BundleException("the benchmark was interrupted", ended);
            }
            status = phone.thermalStatus();
        }
        return status;
    }

    private static long[] invokes(EdgeModel model, int count) {
        long[] samples = new long[count];
        for (int place = 0; place < count; place++) {
            long start = System.nanoTime();
            model.invoke();
            samples[place] = System.nanoTime() - start;
        }
        return samples;
    }

    private static long[] endToEnd(EdgeModel model, int count) {
        byte[] pixels = new byte[model.contract().input().size()];
        for (int place = 0; place < pixels.length; place++) {
            pixels[place] = (byte) (37 * place);
        }
        long[] samples = new long[count];
        for (int place = 0; place < count; place++) {
            long start = System.nanoTime();
            model.run(pixels);
            samples[place] = System.nanoTime() - start;
        }
        return samples;
    }

    public BenchmarkPlan plan() {
        return plan;
    }

    public List<BenchmarkTurn> turns() {
        return turns;
    }

    /** Returns the thermal status before the first round and after each one. */
    public List<Integer> thermal() {
        return thermal;
    }

    /** Returns the model's contract; null where it was never loaded. */
    public Contract contract() {
        return contract;
    }

    /** Returns what ran the model, "" where nothing did. */
    public String runsBy() {
        return runsBy;
    }

    /** Returns why it was not run by what was asked for; null where it was. */
    public String fallback() {
        return fallback;
    }

    /** Returns why no further round was taken. */
    public String stopped() {
        return stopped;
    }

    /** Returns why the benchmark failed; null where it did not. */
    public String failure() {
        return failure;
    }

    public double seconds() {
        return spentNs / 1e9;
    }

    /** Returns what LiteRT logged of the operators that delegates took. */
    public DelegateLog delegates() {
        return DelegateLog.read(log);
    }
}
