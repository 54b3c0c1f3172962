package dev.edgefm.bundle.android

import android.app.ActivityManager
import android.content.Context
import android.os.Build
import android.os.PowerManager
import android.os.Process
import com.google.ai.edge.litert.Accelerator
import dev.edgefm.bundle.Benchmark
import dev.edgefm.bundle.BundleException
import dev.edgefm.bundle.EdgeModel
import dev.edgefm.bundle.PhoneFacts
import java.io.IOException
import java.text.SimpleDateFormat
import java.util.Date
import java.util.Locale

/** The version of LiteRT that the bundle's Gradle file names; LiteRT's Kotlin API does not tell its own. */
const val LITERT_VERSION = "2.3.2"

/** What is measured on: this phone, by LiteRT, with the bundle in a folder of the assets. */
class ThisPhone(private val context: Context, private val folder: String = "") : Benchmark.Phone {
    private val power = context.getSystemService(Context.POWER_SERVICE) as PowerManager

    /** The files of the bundle. */
    val files = AssetFiles(context.assets, folder)

    /** What can be asked for: the name of each way to run the model. */
    val choices: List<String> = ACCELERATORS.map { "CompiledModel, $it" } + "Interpreter, CPU"

    override fun load(asked: String): Benchmark.Loaded {
        if (asked !in choices) throw BundleException("'$asked' cannot be asked for; $choices can")
        val phone = when (val accelerator = ACCELERATORS.firstOrNull { asked == "CompiledModel, $it" }) {
            null -> PhoneModel.openInterpreter(context, folder)
            else -> PhoneModel.open(context, folder, accelerator)
        }
        return object : Benchmark.Loaded {
            override fun model(): EdgeModel = phone.model
            override fun runsBy(): String = phone.runsBy
            override fun fallback(): String? = phone.fallback
            override fun close() = phone.close()
        }
    }

    /** Android tells it since version 10. */
    override fun thermalStatus(): Int? =
        if (Build.VERSION.SDK_INT >= Build.VERSION_CODES.Q) power.currentThermalStatus else null

    /** An app may read what its own process logged, and nothing else. */
    override fun log(since: Long): List<String> = try {
        val moment = SimpleDateFormat("MM-dd HH:mm:ss.SSS", Locale.ROOT).format(Date(since))
        ProcessBuilder("logcat", "-t", moment, "--pid=${Process.myPid()}").redirectErrorStream(true).start()
            .inputStream.bufferedReader().use { it.readLines() }
    } catch (error: IOException) {
        emptyList()
    }

    /** Returns what this phone is; null where Android does not tell it. */
    fun facts(): PhoneFacts {
        val memory = ActivityManager.MemoryInfo()
        (context.getSystemService(Context.ACTIVITY_SERVICE) as ActivityManager).getMemoryInfo(memory)
        return PhoneFacts(
            "${Build.MANUFACTURER} ${Build.MODEL}",
            soc(),
            Build.VERSION.RELEASE,
            Build.VERSION.SDK_INT,
            Build.SUPPORTED_ABIS.firstOrNull() ?: "unknown",
            Runtime.getRuntime().availableProcessors(),
            memory.totalMem,
            LITERT_VERSION,
        )
    }

    /** Android names the processor since version 12, and the board before. */
    private fun soc(): String? {
        val named = if (Build.VERSION.SDK_INT >= Build.VERSION_CODES.S) {
            "${Build.SOC_MANUFACTURER} ${Build.SOC_MODEL}"
        } else {
            Build.HARDWARE
        }
        return named.takeIf { it.isNotBlank() && Build.UNKNOWN !in it }
    }

    private companion object {
        val ACCELERATORS = listOf(Accelerator.CPU, Accelerator.GPU, Accelerator.NPU)
    }
}
