package dev.edgefm.demo

import android.app.Activity
import android.os.Bundle
import android.view.WindowManager
import android.widget.ArrayAdapter
import android.widget.Button
import android.widget.Spinner
import android.widget.TextView
import dev.edgefm.bundle.Benchmark
import dev.edgefm.bundle.BenchmarkPlan
import dev.edgefm.bundle.BenchmarkRecord
import dev.edgefm.bundle.android.ThisPhone
import java.io.File
import java.io.IOException
import java.util.concurrent.ExecutorService
import java.util.concurrent.Executors

/** Measures the model on this phone and writes the record that `edgefm report`, `compare` and `gate` read. */
class BenchmarkActivity : Activity() {
    private val worker: ExecutorService = Executors.newSingleThreadExecutor()

    @Volatile private var left = false

    override fun onCreate(savedInstanceState: Bundle?) {
        super.onCreate(savedInstanceState)
        setContentView(R.layout.benchmark)
        window.addFlags(WindowManager.LayoutParams.FLAG_KEEP_SCREEN_ON)
        val phone = ThisPhone(this, chosenIn(intent))
        val choice = findViewById<Spinner>(R.id.asked)
        choice.adapter = ArrayAdapter(this, android.R.layout.simple_spinner_dropdown_item, phone.choices)
        findViewById<Button>(R.id.start).setOnClickListener { start(phone, phone.choices[choice.selectedItemPosition]) }
    }

    override fun onDestroy() {
        left = true
        worker.shutdown()
        super.onDestroy()
    }

    private fun start(phone: ThisPhone, asked: String) {
        findViewById<Button>(R.id.start).isEnabled = false
        worker.execute {
            val text = try {
                measured(phone, asked)
            } catch (error: RuntimeException) {
                "Nothing was measured: ${error.message}"
            } catch (error: IOException) {
                "The record cannot be written: ${error.message}"
            }
            runOnUiThread {
                findViewById<TextView>(R.id.measured).text = text
                findViewById<Button>(R.id.start).isEnabled = true
            }
        }
    }

    private fun measured(phone: ThisPhone, asked: String): String {
        val benchmark = Benchmark(BenchmarkPlan.usual(asked), phone)
        benchmark.run { done, rounds ->
            runOnUiThread { findViewById<TextView>(R.id.measured).text = "round $done of $rounds" }
            !left
        }
        val folder = getExternalFilesDir(null) ?: throw IOException("this phone has no storage for it")
        val record = File(folder, recordName(chosenIn(intent), asked))
        val part = File(folder, "${record.name}.part") // never half a record under the name of a whole one
        part.writeText(BenchmarkRecord.json(benchmark, phone.files, phone.facts()))
        if (!part.renameTo(record)) throw IOException("$record cannot be replaced")
        return benchmarkText(benchmark, record.path)
    }
}
