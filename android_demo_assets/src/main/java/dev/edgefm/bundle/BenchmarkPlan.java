package dev.edgefm.bundle;

/**
 * How a model is measured on a phone.
 *
 * @param asked for what the model is to be run by, such as "CompiledModel, GPU"
 * @param rounds number of rounds; in each the model is loaded anew
 * @param warmupInvokes invokes of a round before those that count; timed apart
 * @param roundInvokes invokes of a round alone, and as many end to end where the model takes pixels
 * @param budgetSeconds no round begins after this time
 * @param coolingSeconds how long a round waits at most for a phone that throttles
 */
public record BenchmarkPlan(
        String asked, int rounds, int warmupInvokes, int roundInvokes, double budgetSeconds, double coolingSeconds) {
    /** Fails where a number makes no sense. */
    public BenchmarkPlan {
        if (rounds < 1 || rounds > 1000 || warmupInvokes < 0 || roundInvokes < 1 || roundInvokes > 100_000) {
            throw new BundleException("1 to 1000 rounds of 1 to 100000 invokes are expected, given were " + rounds
                    + " of " + roundInvokes + " after " + warmupInvokes);
        }
        if (!(budgetSeconds > 0) || !(coolingSeconds >= 0)) {
            throw new BundleException("the seconds of a benchmark are " + budgetSeconds + " and " + coolingSeconds);
        }
    }

    /** Returns the plan that `edgefm benchmark` follows too, as far as an app can: 15 rounds, ten minutes at most. */
    public static BenchmarkPlan usual(String asked) {
        return new BenchmarkPlan(asked, 15, 20, 50, 600, 20);
    }
}
