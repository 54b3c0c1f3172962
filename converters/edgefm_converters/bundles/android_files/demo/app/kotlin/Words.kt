package dev.edgefm.demo

import android.content.Intent
import android.content.res.AssetManager
import dev.edgefm.bundle.Benchmark
import dev.edgefm.bundle.Score
import dev.edgefm.bundle.Verdict
import java.util.Locale

/** Where the model lies in the assets; of several, the one that is opened first. */
const val FOLDER = "@FOLDER@"

/** Under which name a screen is told the folder of the model that was chosen. */
const val CHOSEN = "dev.edgefm.demo.folder"

/** Returns the folders of all models in the assets, the one of [FOLDER] first. */
fun foldersIn(assets: AssetManager): List<String> {
    val top = FOLDER.substringBefore('/')
    fun holds(folder: String) = "contract.json" in assets.list(folder).orEmpty()
    val folders = if (holds(top)) listOf(top) else assets.list(top).orEmpty().sorted().map { "$top/$it" }.filter(::holds)
    return folders.sortedByDescending { it == FOLDER }.ifEmpty { listOf(FOLDER) }
}

/** Returns the folder of the model that a screen is for. */
fun chosenIn(intent: Intent): String = intent.getStringExtra(CHOSEN) ?: FOLDER

/** Returns the name of a benchmark's record: what was asked for, and the model where there are several. */
fun recordName(folder: String, asked: String): String {
    val model = folder.substringAfter('/', "")
    return listOf("record", model, asked.replace(", ", "-")).filter { it.isNotEmpty() }.joinToString("-") + ".json"
}

/** Returns classes with their probability, a line each, and how long picture and model took. */
fun answerText(top: List<Score>, preparedNs: Long, ranNs: Long): String {
    val lines = top.map { String.format(Locale.ROOT, "%.1f %%  %s", 100 * it.probability(), it.label()) }
    val times = String.format(Locale.ROOT, "model %.2f ms, picture to pixels %.1f ms", ranNs / 1e6, preparedNs / 1e6)
    return (lines + times).joinToString("\n")
}

/** Returns what runs the model, and why it is not what was asked for. */
fun statusText(runsBy: String, fallback: String?): String =
    if (fallback == null) "Runs by $runsBy" else "Runs by $runsBy, because CompiledModel did not load: $fallback"

/** Returns a verdict in words. */
fun verdictText(runsBy: String, verdict: Verdict): String =
    "$runsBy\n${if (verdict.held()) "HELD" else "FAILED"}: ${verdict.text()}"

/** Returns the pixels that a model takes as colours: [channels] of 1 (grey), 3 (RGB) or 4 (RGBA). */
fun coloursOf(pixels: ByteArray, channels: Int): IntArray = IntArray(pixels.size / channels) { place ->
    fun level(channel: Int) = pixels[place * channels + channel].toInt() and 0xFF
    val alpha = if (channels == 4) level(3) else 0xFF
    val (green, blue) = if (channels == 1) 0 to 0 else 1 to 2
    (alpha shl 24) or (level(0) shl 16) or (level(green) shl 8) or level(blue)
}

/** Returns what a benchmark found, and where its record lies. */
fun benchmarkText(benchmark: Benchmark, record: String): String {
    val used = benchmark.turns().filter { it.refusal() == null }
    val medians = used.map { turn -> turn.invokeNs().sorted()[turn.invokeNs().size / 2] }.sorted()
    val time = when {
        benchmark.failure() != null -> "FAILED: ${benchmark.failure()}"
        medians.isEmpty() -> "no round counts: ${benchmark.turns().firstNotNullOfOrNull { it.refusal() }}"
        else -> String.format(Locale.ROOT, "%.3f ms, the middle of %d rounds", medians[medians.size / 2] / 1e6, used.size)
    }
    val thermal = benchmark.thermal().map { it?.toString() ?: "not told" }
    val delegates = benchmark.delegates().taken().map { "${it.delegate()}: ${it.operators()} of ${it.of()} operators" }
    return listOfNotNull(
        time,
        "asked for ${benchmark.plan().asked()}, run by ${benchmark.runsBy().ifEmpty { "nothing" }}",
        benchmark.fallback()?.let { "fallback, because: $it" },
        delegates.joinToString("; ").ifEmpty { "LiteRT's log names no delegate" },
        "thermal status before ${thermal.first()}, after ${thermal.last()} (0 is none)",
        benchmark.stopped(),
        "record: adb pull $record",
    ).joinToString("\n")
}
