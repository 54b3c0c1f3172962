package dev.edgefm.bundle;

import java.text.SimpleDateFormat;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.Collections;
import java.util.Date;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.TimeZone;
import java.util.zip.Deflater;

/**
 * A benchmark as the record that edgefm reads: `edgefm report`, `compare` and `gate` take the file. It holds raw
 * samples; their statistics are made where it is read, all in the same way. What a phone cannot tell is null, with the
 * reason.
 */
public final class BenchmarkRecord {
    private static final int FEW = 3; // rounds without which statistics count as disturbed
    private final Benchmark benchmark;
    private final BundleFiles files;
    private final PhoneFacts phone;
    private final Contract contract;

    private BenchmarkRecord(Benchmark benchmark, BundleFiles files, PhoneFacts phone) {
        this.benchmark = benchmark;
        this.files = files;
        this.phone = phone;
        contract = EdgeModel.contract(files);
    }

    /** Returns the record of a benchmark that was run, as JSON. */
    public static String json(Benchmark benchmark, BundleFiles files, PhoneFacts phone) {
        return JsonWriter.write(new BenchmarkRecord(benchmark, files, phone).record());
    }

    private Map<String, Object> record() {
        SimpleDateFormat utc = new SimpleDateFormat("yyyy-MM-dd'T'HH:mm:ss'+00:00'", Locale.ROOT);
        utc.setTimeZone(TimeZone.getTimeZone("UTC"));
        return members(
                "kind", "benchmark-record", "schema_version", 3, "created", utc.format(new Date()), "mode", "measured",
                "target", members("name", "android-app:" + phone.device(), "mode", "measured", "latency", true),
                "environment", environment(), "protocol", protocol(), "session", session(), "dataset", null, "models",
                Collections.singletonList(model()));
    }

    private Map<String, Object> environment() {
        String cpu = phone.soc() == null ? phone.device() : phone.soc() + " (" + phone.device() + ")";
        return members(
                "cpu", cpu, "cores", phone.cores(), "memory_bytes", phone.memoryBytes(), "os",
                "Android " + phone.android() + " (API " + phone.api() + ", " + phone.abi() + ")", "python",
                "none: an app on the phone", "versions", members("litert", phone.litert()), "load_average", null,
                "governor", missing("an app may not read the frequency governor"), "asked_for",
                benchmark.plan().asked(), "ran", benchmark.runsBy(), "fallback",
                benchmark.fallback() == null ? "" : benchmark.fallback());
    }

    private Map<String, Object> protocol() {
        BenchmarkPlan plan = benchmark.plan();
        return members(
                "kind", "benchmark", "version", 1, "params",
                members(
                        "target", "android-app", "runtime", plan.asked(), "rounds", plan.rounds(), "rounds_at_most",
                        plan.rounds(), "budget_seconds", plan.budgetSeconds(), "round_seconds", 0.0, "round_invokes",
                        plan.roundInvokes(), "round_invokes_at_most", plan.roundInvokes(), "warmup_invokes",
                        plan.warmupInvokes(), "cooling_seconds", plan.coolingSeconds()));
    }

    private Map<String, Object> session() {
        List<Object> states = new ArrayList<>();
        for (Integer status : benchmark.thermal()) {
            states.add(status == null ? members() : members("thermal_status", status));
        }
        List<String> disturbed = new ArrayList<>();
        List<String> leftOut = new ArrayList<>();
        if (refused() > 0) {
            String rounds = name() + ": " + refused() + " of " + benchmark.turns().size() + " rounds were rejected, e.g. "
                    + refusals().get(0);
            (tooFew() ? disturbed : leftOut).add(rounds);
        }
        return members(
                "stopped", benchmark.stopped(), "seconds", benchmark.seconds(), "disturbed", disturbed, "left_out",
                leftOut, "states", states);
    }

    private Map<String, Object> model() {
        byte[] content = EdgeModel.content(files, contract.file());
        List<Object> outputs = new ArrayList<>();
        for (Tensor output : contract.outputs()) {
            outputs.add(tensor(output));
        }
        String failure = benchmark.failure();
        Map<String, Object> model = members(
                "name", name(), "file", contract.file(), "sha256", contract.sha256(), "size_bytes", content.length,
                "size_gzip_bytes", gzipSize(content), "status", failure == null ? "ok" : "failed", "reason", failure,
                "runtime", runtime(), "macs", null, "input", tensor(contract.input()), "output", outputs.get(0),
                "outputs", outputs, "load_ns", medianLoad(), "cold_start_ns", null, "memory", null, "energy_j",
                missing("no API of Android tells the energy of an inference"), "facts", facts(), "figures",
                Collections.singletonList(delegatedShare()));
        model.put("disturbed", members("turns", refused(), "used", tooFew()));
        model.put("rounds", rounds());
        model.put("latency_ns", null);
        model.put("end_to_end_ns", null);
        model.put("quality", null);
        model.put("accuracy", missing("no labelled samples were answered on the phone"));
        model.put("classes", new ArrayList<>());
        model.put("confusion", new ArrayList<>());
        model.put("against_reference", null);
        return model;
    }

    private Map<String, Object> runtime() {
        String by = benchmark.runsBy();
        String[] parts = by.split(", ");
        String name = by.isEmpty() ? "none" : parts[0].equals("Interpreter") ? "litert-interpreter" : "litert-compiled-model";
        return members(
                "name", name, "version", phone.litert(), "options",
                members(
                        "module", null, "kernels", by.isEmpty() ? null : parts[parts.length - 1], "asked",
                        benchmark.plan().asked(), "fallback", benchmark.fallback(), "timed",
                        "invoke: input bytes written, run, output bytes read"));
    }

    private Map<String, Object> facts() {
        Map<String, Object> facts = members("device", phone.device(), "android", phone.android(), "abi", phone.abi());
        if (phone.soc() != null) {
            facts.put("soc", phone.soc());
        }
        List<BenchmarkTurn> used = used();
        if (!used.isEmpty()) {
            long[] first = new long[used.size()];
            for (int place = 0; place < first.length; place++) {
                first[place] = used.get(place).firstInvokeNs();
            }
            facts.put("first_invoke_ns", median(first));
        }
        return facts;
    }

    private Map<String, Object> delegatedShare() {
        DelegateLog log = benchmark.delegates();
        boolean cpu = benchmark.runsBy().endsWith("CPU");
        List<Object> taken = new ArrayList<>();
        for (DelegateLog.Taken one : log.taken()) {
            taken.add(members(
                    "delegate", one.delegate(), "operators", one.operators(), "of", one.of(), "partitions",
                    one.partitions()));
        }
        Double share = benchmark.failure() == null ? log.share(cpu) : null;
        String reason = share != null
                ? null
                : benchmark.failure() != null
                        ? "the model did not run: " + benchmark.failure()
                        : "LiteRT's Kotlin API does not tell which operators ran where, and its log in this process names "
                                + "no delegate" + (cpu ? " of the CPU" : " of an accelerator");
        return members(
                "name", "delegated_share", "value", share, "mode", "measured", "reason", reason, "details",
                members(
                        "asked", benchmark.plan().asked(), "ran", benchmark.runsBy(), "fallback", benchmark.fallback(),
                        "delegates", taken, "unsupported", log.unsupported(), "source",
                        "LiteRT's log in this process; what a delegate gives back later does not show there"));
    }

    private List<Object> rounds() {
        List<Object> rounds = new ArrayList<>();
        for (BenchmarkTurn turn : benchmark.turns()) {
            String refusal = turn.refusal();
            rounds.add(members(
                    "index", rounds.size(), "position", 0, "attempt", 0, "used", refusal == null, "disturbed",
                    refusal == null ? new ArrayList<>() : Collections.singletonList(refusal), "refused",
                    refusal != null, "conditions",
                    members(
                            "thermal_status_before", turn.thermalBefore(), "thermal_status_after", turn.thermalAfter(),
                            "load_ns", turn.loadNs(), "first_invoke_ns", turn.firstInvokeNs()),
                    "cold_start_ns", null, "peak_bytes", null, "energy_j",
                    missing("no API of Android tells the energy of an inference"), "warmup_ns", turn.warmupNs(),
                    "invoke_ns", turn.invokeNs(), "end_to_end_ns", turn.endToEndNs()));
        }
        return rounds;
    }

    private Long medianLoad() {
        List<BenchmarkTurn> used = used();
        long[] loads = new long[used.size()];
        for (int place = 0; place < loads.length; place++) {
            loads[place] = used.get(place).loadNs();
        }
        return loads.length == 0 ? null : (Long) median(loads);
    }

    private static long median(long[] samples) {
        long[] sorted = samples.clone();
        Arrays.sort(sorted);
        return sorted[(sorted.length - 1) / 2];
    }

    private List<BenchmarkTurn> used() {
        List<BenchmarkTurn> used = new ArrayList<>();
        for (BenchmarkTurn turn : benchmark.turns()) {
            if (turn.refusal() == null) {
                used.add(turn);
            }
        }
        return used;
    }

    private List<String> refusals() {
        List<String> refusals = new ArrayList<>();
        for (BenchmarkTurn turn : benchmark.turns()) {
            if (turn.refusal() != null) {
                refusals.add(turn.refusal());
            }
        }
        return refusals;
    }

    private int refused() {
        return refusals().size();
    }

    /** Returns whether so few rounds are left that the figures must not be trusted. */
    private boolean tooFew() {
        int taken = benchmark.turns().size();
        return refused() > 0 && taken - refused() < Math.max(FEW, (taken + 1) / 2);
    }

    private String name() {
        return contract.variant().isEmpty() ? contract.file() : contract.variant();
    }

    private static Map<String, Object> tensor(Tensor tensor) {
        List<Object> shape = new ArrayList<>();
        for (int side : tensor.shape()) {
            shape.add(side);
        }
        boolean quantised = tensor.quantised();
        return members(
                "name", tensor.name(), "dtype", tensor.dtype(), "shape", shape, "scale",
                quantised ? (Double) (double) tensor.scale() : null, "zero_point",
                quantised ? (Integer) tensor.zeroPoint() : null);
    }

    /** Returns the size of a content as `gzip -9` makes it. */
    private static long gzipSize(byte[] content) {
        Deflater deflater = new Deflater(Deflater.BEST_COMPRESSION, true);
        deflater.setInput(content);
        deflater.finish();
        byte[] piece = new byte[1 << 16];
        long size = 18; // its header, sum and length
        while (!deflater.finished()) {
            size += deflater.deflate(piece);
        }
        deflater.end();
        return size;
    }

    private static Map<String, Object> missing(String reason) {
        return members("value", null, "reason", reason);
    }

    private static Map<String, Object> members(Object... namesAndValues) {
        Map<String, Object> members = new LinkedHashMap<>();
        for (int place = 0; place < namesAndValues.length; place += 2) {
            members.put((String) namesAndValues[place], namesAndValues[place + 1]);
        }
        return members;
    }
}
