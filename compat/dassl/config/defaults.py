"""Every config key of Dassl 0.6.3 with its default value."""

from __future__ import annotations

from yacs.config import CfgNode as CN  # noqa: N817

cfg_default = _C = CN()
_C.VERSION = 1
_C.OUTPUT_DIR = "./output"  # log, tensorboard files and checkpoints
_C.RESUME = ""  # directory of an earlier run to continue; must hold its checkpoints
_C.SEED = -1  # negative: no fixed seed
_C.USE_CUDA = True  # where a GPU is present
_C.VERBOSE = True  # print what is built

_C.INPUT = CN()
_C.INPUT.SIZE = (224, 224)  # height, width in pixels
_C.INPUT.INTERPOLATION = "bilinear"  # bilinear | bicubic | nearest
_C.INPUT.TRANSFORMS = ()  # names of dassl.data.transforms; their order here is irrelevant
_C.INPUT.NO_TRANSFORM = False  # True: loaders return PIL images
_C.INPUT.PIXEL_MEAN = [0.485, 0.456, 0.406]  # RGB, of pixels in [0, 1]
_C.INPUT.PIXEL_STD = [0.229, 0.224, 0.225]
_C.INPUT.CROP_PADDING = 4  # random_crop: pixels on each side
_C.INPUT.RRCROP_SCALE = (0.08, 1.0)  # random_resized_crop: share of the area
_C.INPUT.CUTOUT_N = 1  # cutout: squares per image
_C.INPUT.CUTOUT_LEN = 16  # cutout: side in pixels
_C.INPUT.GN_MEAN = 0.0  # gaussian_noise
_C.INPUT.GN_STD = 0.15
_C.INPUT.RANDAUGMENT_N = 2  # operations per image
_C.INPUT.RANDAUGMENT_M = 10  # strength, 0..30
_C.INPUT.COLORJITTER_B = 0.4  # brightness, contrast, saturation, hue
_C.INPUT.COLORJITTER_C = 0.4
_C.INPUT.COLORJITTER_S = 0.4
_C.INPUT.COLORJITTER_H = 0.1
_C.INPUT.RGS_P = 0.2  # randomgrayscale: probability
_C.INPUT.GB_P = 0.5  # gaussian_blur: probability
_C.INPUT.GB_K = 21  # gaussian_blur: kernel side in pixels, odd

_C.DATASET = CN()
_C.DATASET.ROOT = ""  # directory that holds the data sets
_C.DATASET.NAME = ""
_C.DATASET.SOURCE_DOMAINS = ()
_C.DATASET.TARGET_DOMAINS = ()
_C.DATASET.NUM_LABELED = -1  # labelled images in all, for semi-supervised learning
_C.DATASET.NUM_SHOTS = -1  # images per class; below 1: all
_C.DATASET.VAL_PERCENT = 0.1  # share of the data set kept for validation
_C.DATASET.STL10_FOLD = -1  # 0..9; negative: none
_C.DATASET.CIFAR_C_TYPE = ""
_C.DATASET.CIFAR_C_LEVEL = 1
_C.DATASET.ALL_AS_UNLABELED = False

_C.DATALOADER = CN()
_C.DATALOADER.NUM_WORKERS = 4
_C.DATALOADER.K_TRANSFORMS = 1  # augmented copies of each training image
_C.DATALOADER.RETURN_IMG0 = False  # also return the image without augmentation
_C.DATALOADER.TRAIN_X = CN()
_C.DATALOADER.TRAIN_X.SAMPLER = "RandomSampler"  # a name of dassl.data.samplers
_C.DATALOADER.TRAIN_X.BATCH_SIZE = 32
_C.DATALOADER.TRAIN_X.N_DOMAIN = 0  # domains per batch; below 1: all
_C.DATALOADER.TRAIN_X.N_INS = 16  # RandomClassSampler: images per class in a batch
_C.DATALOADER.TRAIN_U = CN()
_C.DATALOADER.TRAIN_U.SAME_AS_X = True  # use the settings of TRAIN_X
_C.DATALOADER.TRAIN_U.SAMPLER = "RandomSampler"
_C.DATALOADER.TRAIN_U.BATCH_SIZE = 32
_C.DATALOADER.TRAIN_U.N_DOMAIN = 0
_C.DATALOADER.TRAIN_U.N_INS = 16
_C.DATALOADER.TEST = CN()
_C.DATALOADER.TEST.SAMPLER = "SequentialSampler"
_C.DATALOADER.TEST.BATCH_SIZE = 32

_C.MODEL = CN()
_C.MODEL.INIT_WEIGHTS = ""  # checkpoint to start from
_C.MODEL.BACKBONE = CN()
_C.MODEL.BACKBONE.NAME = ""
_C.MODEL.BACKBONE.PRETRAINED = True
_C.MODEL.HEAD = CN()
_C.MODEL.HEAD.NAME = ""
_C.MODEL.HEAD.HIDDEN_LAYERS = ()  # widths
_C.MODEL.HEAD.ACTIVATION = "relu"
_C.MODEL.HEAD.BN = True
_C.MODEL.HEAD.DROPOUT = 0.0

_C.OPTIM = CN()
_C.OPTIM.NAME = "adam"  # adam | amsgrad | sgd | rmsprop | radam | adamw
_C.OPTIM.LR = 0.0003
_C.OPTIM.WEIGHT_DECAY = 5e-4
_C.OPTIM.MOMENTUM = 0.9
_C.OPTIM.SGD_DAMPNING = 0
_C.OPTIM.SGD_NESTEROV = False
_C.OPTIM.RMSPROP_ALPHA = 0.99
_C.OPTIM.ADAM_BETA1 = 0.9
_C.OPTIM.ADAM_BETA2 = 0.999
_C.OPTIM.STAGED_LR = False  # True: only the children in NEW_LAYERS learn at the full LR
_C.OPTIM.NEW_LAYERS = ()
_C.OPTIM.BASE_LR_MULT = 0.1  # factor on LR for all other children
_C.OPTIM.LR_SCHEDULER = "single_step"  # single_step | multi_step | cosine
_C.OPTIM.STEPSIZE = (-1,)  # epochs; single_step: below 1 means MAX_EPOCH
_C.OPTIM.GAMMA = 0.1  # factor at each step
_C.OPTIM.MAX_EPOCH = 10
_C.OPTIM.WARMUP_EPOCH = -1  # epochs; below 1: no warm-up
_C.OPTIM.WARMUP_TYPE = "linear"  # linear | constant
_C.OPTIM.WARMUP_CONS_LR = 1e-5  # constant: rate of the whole warm-up
_C.OPTIM.WARMUP_MIN_LR = 1e-5  # linear: rate of the first epoch
_C.OPTIM.WARMUP_RECOUNT = True  # False: the schedule counts the warm-up epochs as its own

_C.TRAIN = CN()
_C.TRAIN.CHECKPOINT_FREQ = 0  # epochs; below 1: only after the last
_C.TRAIN.PRINT_FREQ = 10  # batches
_C.TRAIN.COUNT_ITER = "train_x"  # train_x | train_u | smaller_one; what makes an epoch

_C.TEST = CN()
_C.TEST.EVALUATOR = "Classification"
_C.TEST.PER_CLASS_RESULT = False
_C.TEST.COMPUTE_CMAT = False  # True: write the confusion matrix to OUTPUT_DIR/cmat.pt
_C.TEST.NO_TEST = False
_C.TEST.SPLIT = "test"  # test | val; for the final evaluation
_C.TEST.FINAL_MODEL = "last_step"  # last_step | best_val

# The trainers of Dassl itself are not part of this core; their nodes are, so that a config file
# written for Dassl is understood.
_C.TRAINER = CN()
_C.TRAINER.NAME = ""
_C.TRAINER.MCD = CN({"N_STEP_F": 4})
_C.TRAINER.MME = CN({"LMDA": 0.1})
_C.TRAINER.CDAC = CN(
    {
        "CLASS_LR_MULTI": 10,
        "RAMPUP_COEF": 30,
        "RAMPUP_ITRS": 1000,
        "TOPK_MATCH": 5,
        "P_THRESH": 0.95,
        "STRONG_TRANSFORMS": (),
    }
)
_C.TRAINER.SE = CN({"EMA_ALPHA": 0.999, "CONF_THRE": 0.95, "RAMPUP": 300})
_C.TRAINER.M3SDA = CN({"LMDA": 0.5, "N_STEP_F": 4})
_C.TRAINER.DAEL = CN({"WEIGHT_U": 0.5, "CONF_THRE": 0.95, "STRONG_TRANSFORMS": ()})
_C.TRAINER.CROSSGRAD = CN({"EPS_F": 1.0, "EPS_D": 1.0, "ALPHA_F": 0.5, "ALPHA_D": 0.5})
_C.TRAINER.DDAIG = CN(
    {
        "G_ARCH": "",
        "LMDA": 0.3,
        "CLAMP": False,
        "CLAMP_MIN": -1.0,
        "CLAMP_MAX": 1.0,
        "WARMUP": 0,
        "ALPHA": 0.5,
    }
)
_C.TRAINER.DAELDG = CN({"WEIGHT_U": 0.5, "CONF_THRE": 0.95, "STRONG_TRANSFORMS": ()})
_C.TRAINER.DOMAINMIX = CN({"TYPE": "crossdomain", "ALPHA": 1.0, "BETA": 1.0})
_C.TRAINER.ENTMIN = CN({"LMDA": 1e-3})
_C.TRAINER.MEANTEACHER = CN({"WEIGHT_U": 1.0, "EMA_ALPHA": 0.999, "RAMPUP": 5})
_C.TRAINER.MIXMATCH = CN({"WEIGHT_U": 100.0, "TEMP": 2.0, "MIXUP_BETA": 0.75, "RAMPUP": 20000})
_C.TRAINER.FIXMATCH = CN({"WEIGHT_U": 1.0, "CONF_THRE": 0.95, "STRONG_TRANSFORMS": ()})
