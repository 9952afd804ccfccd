"""The table of backbones: families first, with what their specs share, then one line for each backbone at the end.

The facts are those of `keras/src/applications/*.py` in Keras 3.15.1 (https://keras.io/api/applications/);
`tests/backbones/test_backbones.py` compares every spec with the installed Keras. Each family names its paper.
"""

from typing import Literal

from tlkeras.backbones.spec import BackboneSpec, Stage

_HOST = "https://storage.googleapis.com/tensorflow/keras-applications/"
_NO_TOP = "_weights_tf_dim_ordering_tf_kernels_notop.h5"


def _stages(*pairs: tuple[str, str]) -> tuple[Stage, ...]:
    return tuple(Stage(name, layer) for name, layer in pairs)


def _above(*pairs: tuple[str, str]) -> tuple[Stage, ...]:
    return tuple(Stage(name, layer, after=True) for name, layer in pairs)


def _vgg(name: str, num_params: int, md5: str) -> BackboneSpec:
    """Simonyan and Zisserman, https://arxiv.org/abs/1409.1556."""
    stages = _stages(*((f"block{k}", f"block{k}_conv1") for k in range(1, 6)))
    url = f"{_HOST}{name.lower()}/{name.lower()}{_NO_TOP}"
    return BackboneSpec(name, name, "caffe", 224, 32, 512, num_params, stages, "block5", url, md5)


def _resnet(name: str, num_params: int, md5: str) -> BackboneSpec:
    """He et al., https://arxiv.org/abs/1512.03385; V2: https://arxiv.org/abs/1603.05027."""
    v2 = name.endswith("V2")
    first = "preact_bn" if v2 else "1_conv"
    stages = _stages(("conv1", "conv1_pad"), *((f"conv{k}", f"conv{k}_block1_{first}") for k in range(2, 6)))
    url = f"{_HOST}resnet/{name.lower()}{_NO_TOP}"
    return BackboneSpec(name, name, "tf" if v2 else "caffe", 224, 32, 2048, num_params, stages, "conv5", url, md5)


def _densenet(name: str, num_features: int, num_params: int, md5: str) -> BackboneSpec:
    """Huang et al., https://arxiv.org/abs/1608.06993. A stage starts with the transition layer in front of it."""
    first = _stages(("conv1", "conv1_conv"), ("conv2", "conv2_block1_0_bn"))
    stages = first + _stages(*((f"conv{k}", f"pool{k - 1}_bn") for k in range(3, 6)))
    url = f"{_HOST}densenet/{name.lower()}{_NO_TOP}"
    return BackboneSpec(name, name, "torch", 224, 32, num_features, num_params, stages, "conv5", url, md5)


def _width(name: str, alpha: float) -> tuple[str, dict[str, float]]:
    return (name, {}) if alpha == 1.0 else (f"{name}-{alpha}", {"alpha": alpha})


def _mobilenet(alpha: float, num_params: int) -> BackboneSpec:
    """Howard et al., https://arxiv.org/abs/1704.04861."""
    name, arguments = _width("MobileNet", alpha)
    blocks = ((f"block_{k}", f"conv_pad_{k}" if k in (2, 4, 6, 12) else f"conv_dw_{k}") for k in range(1, 14))
    stages = _stages(("conv1", "conv1"), *blocks)
    digits = {0.25: "2_5", 0.5: "5_0", 0.75: "7_5", 1.0: "1_0"}[alpha]
    url = f"{_HOST}mobilenet/mobilenet_{digits}_{{size}}_tf_no_top.h5"
    sizes = (128, 160, 192, 224)
    num_features = int(1024 * alpha)
    return BackboneSpec(
        name, "MobileNet", "tf", 224, 32, num_features, num_params, stages, "block_12", url, None, sizes, None,
        arguments,
    )  # fmt: skip


def _mobilenet_v2(alpha: float, num_features: int, num_params: int, bundled_hash: str | None = None) -> BackboneSpec:
    """Sandler et al., https://arxiv.org/abs/1801.04381."""
    name, arguments = _width("MobileNetV2", alpha)
    blocks = ((f"block_{k}", f"block_{k}_expand") for k in range(1, 17))
    stages = _stages(("Conv1", "Conv1"), ("block_0", "expanded_conv_depthwise"), *blocks, ("Conv_1", "Conv_1"))
    url = f"{_HOST}mobilenet_v2/mobilenet_v2_weights_tf_dim_ordering_tf_kernels_{alpha}_{{size}}_no_top.h5"
    sizes = (96, 128, 160, 192, 224)
    return BackboneSpec(
        name, "MobileNetV2", "tf", 224, 32, num_features, num_params, stages, "block_13", url, None, sizes, None,
        arguments, bundled_hash,
    )  # fmt: skip


def _mobilenet_v3(
    kind: Literal["Small", "Large"], alpha: float, num_features: int, num_params: int, md5: str
) -> BackboneSpec:
    """Howard et al., https://arxiv.org/abs/1905.02244."""
    name, arguments = _width(f"MobileNetV3{kind}", alpha)
    first, last, finetune_from = {"Small": ("_pad", 10, 8), "Large": ("", 14, 12)}[kind]
    blocks = ((f"block_{k}", f"expanded_conv_{k}_expand") for k in range(1, last + 1))
    stages = _stages(("conv", "conv"), ("block_0", f"expanded_conv_depthwise{first}"), *blocks, ("conv_1", "conv_1"))
    return BackboneSpec(
        name, f"MobileNetV3{kind}", "inside", 224, 32, num_features, num_params, stages, f"block_{finetune_from}",
        f"{_HOST}mobilenet_v3/weights_mobilenet_v3_{kind.lower()}_224_{alpha}_float_no_top_v2.h5", md5,
        constructor_args=arguments,
    )  # fmt: skip


def _efficientnet(name: str, size: int, num_features: int, num_params: int, md5: str) -> BackboneSpec:
    """Tan and Le, https://arxiv.org/abs/1905.11946. `tlkeras.models.weights` corrects its pixel scaling."""
    blocks = ((f"block{k}", f"block{k}a_expand_conv") for k in range(2, 8))
    stages = _stages(("stem", "stem_conv_pad"), ("block1", "block1a_dwconv"), *blocks, ("top", "top_conv"))
    url = f"https://storage.googleapis.com/keras-applications/{name.lower()}_notop.h5"
    return BackboneSpec(name, name, "inside", size, 32, num_features, num_params, stages, "block6", url, md5)


def _efficientnet_v2(kind: str, size: int, num_features: int, num_params: int, md5: str) -> BackboneSpec:
    """Tan and Le, https://arxiv.org/abs/2104.00298."""
    name = f"EfficientNetV2{kind}"
    blocks = ((f"block{k}", f"block{k}a_expand_conv") for k in range(2, 8 if kind in "ML" else 7))
    stages = _stages(("stem", "stem_conv"), ("block1", "block1a_project_conv"), *blocks, ("top", "top_conv"))
    url = f"{_HOST}efficientnet_v2/efficientnetv2-{kind.lower()}_notop.h5"
    return BackboneSpec(name, name, "inside", size, 32, num_features, num_params, stages, "block6", url, md5)


def _convnext(kind: str, num_features: int, num_params: int, sha256: str) -> BackboneSpec:
    """Liu et al., https://arxiv.org/abs/2201.03545. A stage starts with the downsampling block in front of it."""
    name = f"convnext_{kind.lower()}"
    first = _stages(("stem", f"{name}_stem"), ("stage_0", f"{name}_stage_0_block_0_depthwise_conv"))
    stages = first + _stages(*((f"stage_{k}", f"{name}_downsampling_block_{k - 1}") for k in range(1, 4)))
    url, name = f"{_HOST}convnext/{name}_notop.h5", f"ConvNeXt{kind}"
    return BackboneSpec(name, name, "inside", 224, 32, num_features, num_params, stages, "stage_3", url, sha256)


def _inception_v3() -> BackboneSpec:
    """Szegedy et al., https://arxiv.org/abs/1512.00567. The stem has automatic layer names only."""
    stages = _above(*((f"mixed{k}", f"mixed{k - 1}") for k in range(1, 11)))
    return BackboneSpec(
        "InceptionV3", "InceptionV3", "tf", 299, 75, 2048, 21_802_784, stages, "mixed8",
        f"{_HOST}inception_v3/inception_v3{_NO_TOP}", "bcbd6486424b2319ff4ef7d526e38f63",
    )  # fmt: skip


def _inception_resnet_v2() -> BackboneSpec:
    """Szegedy et al., https://arxiv.org/abs/1602.07261. The stem has automatic layer names only."""
    blocks = ("block35", "mixed_5b"), ("mixed_6a", "block35_10_ac"), ("block17", "mixed_6a")
    blocks += ("mixed_7a", "block17_20_ac"), ("block8", "mixed_7a")
    return BackboneSpec(
        "InceptionResNetV2", "InceptionResNetV2", "tf", 299, 75, 1536, 54_336_736,
        _above(*blocks) + _stages(("conv_7b", "conv_7b")), "mixed_7a",
        f"{_HOST}inception_resnet_v2/inception_resnet_v2{_NO_TOP}", "d19885ff4a710c122648d3b5c3b684e4",
    )  # fmt: skip


def _xception() -> BackboneSpec:
    """Chollet, https://arxiv.org/abs/1610.02357."""
    blocks = ((f"block{k}", f"block{k}_sepconv1_act") for k in range(3, 14))
    ends = ("block1", "block1_conv1"), ("block2", "block2_sepconv1"), ("block14", "block14_sepconv1")
    return BackboneSpec(
        "Xception", "Xception", "tf", 299, 71, 2048, 20_861_480, _stages(*ends[:2], *blocks, ends[2]), "block13",
        f"{_HOST}xception/xception{_NO_TOP}", "b0042744bf5b25fce3cb969f33bebb97",
    )  # fmt: skip


def _nasnet_mobile() -> BackboneSpec:
    """Zoph et al., https://arxiv.org/abs/1707.07012. Each cell also sees the one below the one below it."""
    cells = [("cell_0", "reduction_concat_stem_2"), ("cell_1", "normal_concat_0"), ("cell_2", "normal_concat_1")]
    cells += [("cell_3", "normal_concat_2"), ("reduce_4", "normal_concat_3"), ("cell_5", "reduction_concat_reduce_4")]
    cells += [("cell_6", "normal_concat_5"), ("cell_7", "normal_concat_6"), ("cell_8", "normal_concat_7")]
    cells += [("reduce_8", "normal_concat_8"), ("cell_9", "reduction_concat_reduce_8"), ("cell_10", "normal_concat_9")]
    cells += [("cell_11", "normal_concat_10"), ("cell_12", "normal_concat_11")]
    return BackboneSpec(
        "NASNetMobile", "NASNetMobile", "tf", 224, 32, 1056, 4_269_716,
        _stages(("stem", "stem_conv1")) + _above(*cells), "reduce_8",
        f"{_HOST}nasnet/NASNet-mobile-no-top.h5", "1ed92395b5b598bdda52abe5c0dbfd63",
        weights_name="nasnet_mobile_no_top.h5",
    )  # fmt: skip


BACKBONES: dict[str, BackboneSpec] = {
    spec.name: spec
    for spec in (
        _vgg("VGG16", 14_714_688, "6d6bbae143d832006294945121d1f1fc"),
        _vgg("VGG19", 20_024_384, "253f8cb515780f3b799900260a226db6"),
        _resnet("ResNet50", 23_587_712, "4d473c1dd8becc155b73f8504c6f6626"),
        _resnet("ResNet101", 42_658_176, "88cf7a10940856eca736dc7b7e228a21"),
        _resnet("ResNet152", 58_370_944, "ee4c566cf9a93f14d82f913c2dc6dd0c"),
        _resnet("ResNet50V2", 23_564_800, "fac2f116257151a9d068a22e544a4917"),
        _resnet("ResNet101V2", 42_626_560, "c0ed64b8031c3730f411d2eb4eea35b5"),
        _resnet("ResNet152V2", 58_331_648, "ed17cf2e0169df9d443503ef94b23b33"),
        _mobilenet(1.0, 3_228_864),
        _mobilenet(0.75, 1_832_976),
        _mobilenet(0.5, 829_536),
        _mobilenet(0.25, 218_544),
        _mobilenet_v2(1.0, 1280, 2_257_984),
        _mobilenet_v2(1.4, 1792, 4_363_712),
        _mobilenet_v2(1.3, 1664, 3_766_048),
        _mobilenet_v2(0.75, 1280, 1_382_064),
        _mobilenet_v2(0.5, 1280, 706_224),
        _mobilenet_v2(
            0.35, 1280, 410_208, bundled_hash="e169cf7dc524b5a9c9ff92e08fe1bb8b5b971437d44dda9f77f7daa4cac7dcaf"
        ),
        _mobilenet_v3("Small", 1.0, 576, 939_120, "d3e8ec802a04aa4fc771ee12a9a9b836"),
        _mobilenet_v3("Small", 0.75, 432, 583_160, "ebdb5cc8e0b497cd13a7c275d475c819"),
        _mobilenet_v3("Large", 1.0, 960, 2_996_352, "07fb09a5933dd0c8eaafa16978110389"),
        _mobilenet_v3("Large", 0.75, 720, 1_808_736, "40af19a13ebea4e2ee0c676887f69a2e"),
        _efficientnet("EfficientNetB0", 224, 1280, 4_049_571, "50bc09e76180e00e4465e1a485ddc09d"),
        _efficientnet("EfficientNetB1", 240, 1280, 6_575_239, "74c4e6b3e1f6a1eea24c589628592432"),
        _efficientnet("EfficientNetB2", 260, 1408, 7_768_569, "111f8e2ac8aa800a7a99e3239f7bfb39"),
        _efficientnet("EfficientNetB3", 300, 1536, 10_783_535, "af6d107764bb5b1abb91932881670226"),
        _efficientnet("EfficientNetB4", 380, 1792, 17_673_823, "ebc24e6d6c33eaebbd558eafbeedf1ba"),
        _efficientnet("EfficientNetB5", 456, 2048, 28_513_527, "38879255a25d3c92d5e44e04ae6cec6f"),
        _efficientnet("EfficientNetB6", 528, 2304, 40_960_143, "9ecce42647a20130c1f39a5d4cb75743"),
        _efficientnet("EfficientNetB7", 600, 2560, 64_097_687, "cbcfe4450ddf6f3ad90b1b398090fe4a"),
        _efficientnet_v2("B0", 224, 1280, 5_919_312, "893217f2bb855e2983157299931e43ff"),
        _efficientnet_v2("B1", 240, 1280, 6_931_124, "0e80663031ca32d657f9caa404b6ec37"),
        _efficientnet_v2("B2", 260, 1408, 8_769_374, "1dfe2e7a5d45b6632553a8961ea609eb"),
        _efficientnet_v2("B3", 300, 1536, 12_930_622, "f6abf7b5849ac99a89b50dd3fd532856"),
        _efficientnet_v2("S", 384, 1280, 20_331_360, "af0682fb74e8c54910f2d4393339c070"),
        _efficientnet_v2("M", 480, 1280, 53_150_388, "1b8dc055df72dde80d614482840fe342"),
        _efficientnet_v2("L", 480, 1280, 117_746_848, "b0b66b5c863aef5b46e8608fe1711615"),
        _densenet("DenseNet121", 1024, 7_037_504, "30ee3e1110167f948a6b9946edeeb738"),
        _densenet("DenseNet169", 1664, 12_642_880, "b8c4d4c20dd625c148057b9ff1c1176b"),
        _densenet("DenseNet201", 1920, 18_321_984, "c13680b51ded0fb44dff2d8f86ac8bb1"),
        _xception(),
        _inception_v3(),
        _inception_resnet_v2(),
        _nasnet_mobile(),
        _convnext("Tiny", 768, 27_820_128, "d547c096cabd03329d7be5562c5e14798aa39ed24b474157cef5e85ab9e49ef1"),
        _convnext("Small", 768, 49_454_688, "6fc8009faa2f00c1c1dfce59feea9b0745eb260a7dd11bee65c8e20843da6eab"),
        _convnext("Base", 1024, 87_566_464, "40a20c5548a5e9202f69735ecc06c990e6b7c9d2de39f0361e27baeb24cb7c45"),
        _convnext("Large", 1536, 196_230_336, "96f02b6f0753d4f543261bc9d09bed650f24dd6bc02ddde3066135b63d23a1cd"),
        _convnext("XLarge", 2048, 348_147_968, "de3f8a54174130e0cecdc71583354753d557fcf1f4487331558e2a16ba0cfe05"),
    )
}
