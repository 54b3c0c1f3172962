package dev.edgefm.bundle.android

import android.content.res.AssetManager
import com.google.ai.edge.litert.Accelerator
import com.google.ai.edge.litert.CompiledModel
import com.google.ai.edge.litert.TensorBuffer
import dev.edgefm.bundle.Contract
import dev.edgefm.bundle.ModelRunner
import dev.edgefm.bundle.Tensor
import java.nio.ByteBuffer

/**
 * Runs a model by LiteRT's CompiledModel.
 *
 * Its buffers take arrays, so values are copied once each way. It names no unsigned bytes: those of uint8 tensors go
 * through `writeInt8` and `readInt8`, bit for bit.
 *
 * @param asset path of the model in the assets
 * @param accelerator what is asked for; what LiteRT runs elsewhere in spite of it shows in its log alone
 */
class CompiledModelRunner(
    assets: AssetManager,
    asset: String,
    private val contract: Contract,
    accelerator: Accelerator = Accelerator.CPU,
) : ModelRunner, AutoCloseable {
    private val model = CompiledModel.create(assets, asset, CompiledModel.Options(accelerator))
    private val inputs = model.createInputBuffers()
    private val outputs = model.createOutputBuffers()

    init {
        check(inputs.size == 1 && outputs.size == contract.outputs().size) {
            "the model has ${inputs.size} inputs and ${outputs.size} outputs; its contract says otherwise"
        }
    }

    override fun run(input: ByteBuffer, outputs: Array<ByteBuffer>) {
        write(contract.input(), input, inputs[0])
        model.run(inputs, this.outputs)
        for ((place, tensor) in contract.outputs().withIndex()) {
            read(tensor, this.outputs[place], outputs[place])
        }
    }

    override fun close() {
        (inputs + outputs).forEach { it.close() }
        model.close()
    }

    private fun write(tensor: Tensor, values: ByteBuffer, to: TensorBuffer) {
        val size = tensor.size()
        when (tensor.dtype()) {
            "float32" -> to.writeFloat(FloatArray(size).also { values.asFloatBuffer().get(it) })
            "int32" -> to.writeInt(IntArray(size).also { values.asIntBuffer().get(it) })
            "int64" -> to.writeLong(LongArray(size).also { values.asLongBuffer().get(it) })
            else -> to.writeInt8(ByteArray(size).also { values.get(it) })
        }
    }

    private fun read(tensor: Tensor, from: TensorBuffer, values: ByteBuffer) {
        if (tensor.dtype() == "float32") {
            values.asFloatBuffer().put(from.readFloat(), 0, tensor.size())
        } else {
            values.put(from.readInt8(), 0, tensor.size())
        }
    }
}
