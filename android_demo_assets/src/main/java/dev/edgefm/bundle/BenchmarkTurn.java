package dev.edgefm.bundle;

/**
 * One round of a benchmark: raw nanoseconds of each call.
 *
 * @param thermalBefore thermal status before the round, 0 (none) to 6 (shutdown); null where the phone does not tell it
 * @param thermalAfter and behind it
 * @param loadNs from the assets to a model that is ready
 * @param firstInvokeNs the first run of it
 * @param warmupNs invokes before the samples, the first one included
 * @param invokeNs invokes alone: the input's bytes to the outputs' bytes
 * @param endToEndNs pixels to real values; empty where the model takes no pixels
 */
public record BenchmarkTurn(
        Integer thermalBefore, Integer thermalAfter, long loadNs, long firstInvokeNs, long[] warmupNs, long[] invokeNs,
        long[] endToEndNs) {
    private static final String[] STATUS = {"none", "light", "moderate", "severe", "critical", "emergency", "shutdown"};

    /** Returns why the times are those of a slower phone than this one; null where nothing is known of that. */
    public String refusal() {
        int worst = Math.max(thermalBefore == null ? 0 : thermalBefore, thermalAfter == null ? 0 : thermalAfter);
        if (worst <= 0) {
            return null;
        }
        String name = STATUS[Math.min(worst, STATUS.length - 1)];
        return "the phone throttled: thermal status " + worst + " (" + name + ")";
    }
}
