// Detections of Countline's contract for nvinferserver: one output `detections`, FP32 [max_detections, 6] of
// x1, y1, x2, y2 in pixels of the network's input, score, class; unused rows have score 0. NMS is part of the model, and
// nvinferserver undoes scaling and padding, so each row simply becomes an object.

#include <algorithm>
#include <cstring>
#include <vector>

#include "nvdsinfer_custom_impl.h"

namespace {

constexpr unsigned int kColumns = 6;

const NvDsInferLayerInfo *find_output(const std::vector<NvDsInferLayerInfo> &layers)
{
    for (const auto &layer : layers) {
        if (layer.layerName != nullptr && std::strcmp(layer.layerName, "detections") == 0) {
            return &layer;
        }
    }
    return nullptr;
}

bool is_contract(const NvDsInferLayerInfo &layer)
{
    const auto &dims = layer.inferDims;
    return layer.dataType == FLOAT && layer.buffer != nullptr && dims.numDims == 2 && dims.d[1] == kColumns;
}

// False if no part of the box is inside the input, and for NaN (comparisons with NaN are false).
bool to_object(const float *row, float width, float height, NvDsInferObjectDetectionInfo &object)
{
    const float left = std::max(row[0], 0.0F), top = std::max(row[1], 0.0F);
    const float right = std::min(row[2], width), bottom = std::min(row[3], height);
    if (!(right > left) || !(bottom > top) || !(row[5] >= 0.0F)) {
        return false;
    }
    object = NvDsInferObjectDetectionInfo{};
    object.classId = static_cast<unsigned int>(row[5]);
    object.left = left;
    object.top = top;
    object.width = right - left;
    object.height = bottom - top;
    object.detectionConfidence = row[4];
    return true;
}

}  // namespace

extern "C" bool NvDsInferParseCountline(std::vector<NvDsInferLayerInfo> const &outputLayersInfo,
                                        NvDsInferNetworkInfo const &networkInfo,
                                        NvDsInferParseDetectionParams const & /* the model has its own thresholds */,
                                        std::vector<NvDsInferObjectDetectionInfo> &objectList)
{
    const NvDsInferLayerInfo *output = find_output(outputLayersInfo);
    if (output == nullptr || !is_contract(*output)) {
        return false;
    }
    const auto *rows = static_cast<const float *>(output->buffer);
    const unsigned int count = output->inferDims.d[0];
    const auto width = static_cast<float>(networkInfo.width), height = static_cast<float>(networkInfo.height);
    for (unsigned int i = 0; i < count; ++i) {
        const float *row = rows + static_cast<size_t>(i) * kColumns;
        NvDsInferObjectDetectionInfo object;
        if (row[4] > 0.0F && to_object(row, width, height, object)) {
            objectList.push_back(object);
        }
    }
    return true;
}

CHECK_CUSTOM_PARSE_FUNC_PROTOTYPE(NvDsInferParseCountline);
