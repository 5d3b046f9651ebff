cfg = {
    ### Global Set
    "model_name": "mobilenetv3",  #shufflenetv2 adv-efficientnet-b2
    'GPU_ID': '0',
    "class_number": 10,
    "random_seed":43,
    "cfg_verbose":True,
    "num_workers":4,
    'train_path':"./data/train",
    'val_path':"./data/val",
    'pretrained':'', #path or ''
    'try_to_train_items': 200,   # 0 means all
    'save_best_only': True,
    'save_one_only':True,
    "save_dir": "output/",
    'metrics': ['acc'],
    "loss": 'Focalloss-1',
    "target_img_size": [224, 224], # [h, w]
    'learning_rate':0.001,
    'batch_size':64,
    'epochs':100,
    'optimizer':'SGD',
    'scheduler':'step-4-0.8',
    'warmup_epoch':2, #
    'weight_decay' : 0.0001,
    "k_flod":5,
    'start_fold':0,
    'early_stop_patient':7,
    'use_distill':0,
    'label_smooth':0,
    'class_weight': None,
    'clip_gradient': 1,
    'freeze_nonlinear_epoch':2,
    'dropout':0.5,
    'mixup':False,
    'cutmix':False,
    'sample_weights':None,
    'model_path':'output/mobilenetv3_e20_0.85280.pth',
    'TTA':False,
    'merge':False,
    'test_batch_size': 1,
}
