package dev.edgefm.demo

import android.app.Activity
import android.os.Bundle
import android.widget.TextView
import dev.edgefm.bundle.android.PhoneModel
import java.util.concurrent.ExecutorService
import java.util.concurrent.Executors

/** Holds the answers of this phone against the golden vectors: by CompiledModel and by Interpreter. */
class SelfTestActivity : Activity() {
    private val worker: ExecutorService = Executors.newSingleThreadExecutor()

    override fun onCreate(savedInstanceState: Bundle?) {
        super.onCreate(savedInstanceState)
        setContentView(R.layout.self_test)
        val folder = chosenIn(intent)
        worker.execute {
            val found = listOf(
                verdict { PhoneModel.open(this, folder) },
                verdict { PhoneModel.openInterpreter(this, folder) },
            ).joinToString("\n\n")
            runOnUiThread { findViewById<TextView>(R.id.verdict).text = found }
        }
    }

    override fun onDestroy() {
        worker.shutdown()
        super.onDestroy()
    }

    private fun verdict(open: () -> PhoneModel): String = try {
        open().use { phone ->
            val found = verdictText(phone.runsBy, phone.selfTest())
            if (phone.fallback == null) found else "${statusText(phone.runsBy, phone.fallback)}\n$found"
        }
    } catch (error: RuntimeException) {
        "FAILED: ${error.message}"
    }
}
