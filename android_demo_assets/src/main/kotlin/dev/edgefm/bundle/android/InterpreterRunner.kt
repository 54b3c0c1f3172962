package dev.edgefm.bundle.android

import android.content.res.AssetManager
import dev.edgefm.bundle.ModelRunner
import java.io.FileInputStream
import java.io.FileNotFoundException
import java.nio.ByteBuffer
import java.nio.ByteOrder
import java.nio.channels.FileChannel
import org.tensorflow.lite.Interpreter

/**
 * Runs a model by LiteRT's Interpreter, on the CPU alone: for devices on which CompiledModel does not load.
 *
 * @param asset path of the model in the assets; it is mapped where it is stored uncompressed, as Gradle stores .tflite
 */
class InterpreterRunner(assets: AssetManager, asset: String, threads: Int = 1) : ModelRunner, AutoCloseable {
    private val interpreter = Interpreter(content(assets, asset), Interpreter.Options().setNumThreads(threads))

    override fun run(input: ByteBuffer, outputs: Array<ByteBuffer>) {
        interpreter.runForMultipleInputsOutputs(arrayOf<Any>(input), outputs.indices.associateWith { outputs[it] })
    }

    override fun close() = interpreter.close()

    private companion object {
        fun content(assets: AssetManager, asset: String): ByteBuffer =
            try {
                assets.openFd(asset).use { file ->
                    FileInputStream(file.fileDescriptor).channel
                        .map(FileChannel.MapMode.READ_ONLY, file.startOffset, file.declaredLength)
                }
            } catch (compressed: FileNotFoundException) {
                val bytes = assets.open(asset).use { it.readBytes() }
                ByteBuffer.allocateDirect(bytes.size).order(ByteOrder.nativeOrder()).apply {
                    put(bytes)
                    rewind()
                }
            }
    }
}
