use super::convert::{annotations, to_v1, to_v2};
use super::{HORIZONTAL_POD_AUTOSCALER, HORIZONTAL_POD_AUTOSCALER_V1};
use crate::kinds::testing::{check, check_defaults, check_row, created, object};

const TARGET: &str = "scaleTargetRef: {kind: Deployment, name: d}";

#[track_caller]
fn spec(fields: &str, want: &[&str]) {
    check(&HORIZONTAL_POD_AUTOSCALER, &format!("{{apiVersion: autoscaling/v2, spec: {{{TARGET}, {fields}}}}}"), want);
}

#[test]
fn replicas() {
    spec("maxReplicas: 3", &[]);
    spec(
        "maxReplicas: 1, minReplicas: 2",
        &["spec.maxReplicas: Invalid value: 1: must be greater than or equal to `minReplicas`"],
    );
    spec(
        "minReplicas: 0",
        &[
            "spec.maxReplicas: Invalid value: 0: must be greater than 0",
            "spec.metrics: Forbidden: must specify at least one Object or External metric to support scaling to zero replicas",
            "spec.minReplicas: Invalid value: 0: must be greater than or equal to 1",
        ],
    );
}

#[test]
fn metrics() {
    spec(
        "maxReplicas: 3, metrics: [{type: Pods, pods: {metric: {name: m}, target: {type: AverageValue, averageValue: '1'}}}]",
        &[],
    );
    spec(
        "maxReplicas: 3, metrics: [{type: Resource, pods: {metric: {}, target: {type: Value}}}]",
        &[
            "spec.metrics[0].pods.metric.name: Required value: must specify a metric name",
            "spec.metrics[0].pods.target.averageValue: Required value: must specify a positive target averageValue",
            "spec.metrics[0].resource: Required value: must populate information for the given metric source",
        ],
    );
    spec(
        "maxReplicas: 3, metrics: [{type: Resource, resource: {name: cpu, target: {type: Some, averageUtilization: 0}}}]",
        &[
            "spec.metrics[0].resource.target.type: Invalid value: \"Some\": must be either Utilization, Value, or AverageValue",
            "spec.metrics[0].resource.target.averageUtilization: Invalid value: 0: must be greater than 0",
        ],
    );
}

#[test]
fn behavior() {
    spec(
        "maxReplicas: 3, behavior: {scaleUp: {policies: [{type: Fast, value: 0, periodSeconds: 1801}]}, \
          scaleDown: {stabilizationWindowSeconds: 3601}}",
        &[
            "spec.behavior.scaleUp.policies[0].type: Unsupported value: \"Fast\": supported values: \"Percent\", \"Pods\"",
            "spec.behavior.scaleUp.policies[0].value: Invalid value: 0: must be greater than zero",
            "spec.behavior.scaleUp.policies[0].periodSeconds: Invalid value: 1801: must be less than or equal to 1800",
            "spec.behavior.scaleDown.stabilizationWindowSeconds: Invalid value: 3601: must be less than or equal to 3600",
        ],
    );
}

#[test]
fn defaults_are_upstreams() {
    check_defaults(
        &HORIZONTAL_POD_AUTOSCALER,
        "{spec: {behavior: {scaleDown: {selectPolicy: Min}}}}",
        "{spec: {minReplicas: 1, metrics: [{type: Resource, resource: {name: cpu, target: {type: Utilization, \
         averageUtilization: 80}}}], behavior: {scaleDown: {selectPolicy: Min, policies: [{type: Percent, value: 100, \
         periodSeconds: 15}]}, scaleUp: {selectPolicy: Max, stabilizationWindowSeconds: 0, policies: [{type: Pods, \
         value: 4, periodSeconds: 15}, {type: Percent, value: 100, periodSeconds: 15}]}}}}",
    );
}

#[test]
fn the_versions_say_the_same() {
    let v2 = object(
        "{apiVersion: autoscaling/v2, kind: HorizontalPodAutoscaler, metadata: {name: a, annotations: {b: c}}, \
         spec: {minReplicas: 1, maxReplicas: 3, metrics: [\
           {type: Resource, resource: {name: cpu, target: {type: Utilization, averageUtilization: 50}}}, \
           {type: Object, object: {describedObject: {kind: Service, name: s}, metric: {name: m}, \
            target: {type: Value, value: '5'}}}], \
         behavior: {scaleUp: {selectPolicy: Max}}}, \
         status: {currentReplicas: 1, desiredReplicas: 2, \
         currentMetrics: [{type: Resource, resource: {name: cpu, current: {averageUtilization: 7, averageValue: 3m}}}], \
         conditions: [{type: AbleToScale, status: 'True'}]}}",
    );
    let v1 = to_v1(&v2);
    assert_eq!(v1["spec"]["targetCPUUtilizationPercentage"], 50);
    assert_eq!(v1["status"]["currentCPUUtilizationPercentage"], 7);
    assert_eq!(
        v1["metadata"]["annotations"]["autoscaling.alpha.kubernetes.io/behavior"],
        "{\"ScaleUp\":{\"SelectPolicy\":\"Max\"}}"
    );
    let metrics = v1["metadata"]["annotations"]["autoscaling.alpha.kubernetes.io/metrics"].as_str().unwrap();
    assert_eq!(
        object(metrics),
        object("[{type: Object, object: {target: {kind: Service, name: s}, metricName: m, targetValue: '5'}}]")
    );
    assert_eq!(annotations(&v1).len(), 5);
    assert_eq!(to_v2(&v1), v2);
}

#[test]
fn what_v1_leaves_out_is_the_default() {
    let v1 = created(
        &HORIZONTAL_POD_AUTOSCALER_V1,
        &format!("{{apiVersion: autoscaling/v1, metadata: {{name: a}}, spec: {{{TARGET}, maxReplicas: 3}}}}"),
    );
    assert_eq!(v1["spec"]["targetCPUUtilizationPercentage"], 80);
    assert_eq!(v1["status"], object("{currentReplicas: 0, desiredReplicas: 0}"));
    check(
        &HORIZONTAL_POD_AUTOSCALER_V1,
        &format!(
            "{{apiVersion: autoscaling/v1, spec: {{{TARGET}, maxReplicas: 3, targetCPUUtilizationPercentage: 0}}}}"
        ),
        &["spec.metrics[0].resource.target.averageUtilization: Invalid value: 0: must be greater than 0"],
    );
}

#[test]
fn rows() {
    check_row(
        &HORIZONTAL_POD_AUTOSCALER,
        &format!(
            "{{apiVersion: autoscaling/v2, metadata: {{name: a}}, spec: {{{TARGET}, minReplicas: 1, maxReplicas: 5, \
             metrics: [{{type: Resource, resource: {{name: cpu, target: {{averageUtilization: 80}}}}}}, \
             {{type: External, external: {{target: {{averageValue: '9'}}}}}}, {{type: Pods}}]}}, \
             status: {{currentReplicas: 2, currentMetrics: [{{type: Resource, resource: {{name: cpu, \
             current: {{averageUtilization: 12}}}}}}]}}}}"
        ),
        "a | Deployment/d | cpu: 12%/80%, <unknown>/9 (avg) + 1 more... | 1 | 5 | 2 | <unknown>",
    );
    check_row(
        &HORIZONTAL_POD_AUTOSCALER_V1,
        &format!(
            "{{apiVersion: autoscaling/v1, metadata: {{name: a}}, spec: {{{TARGET}, maxReplicas: 5, targetCPUUtilizationPercentage: 50}}}}"
        ),
        "a | Deployment/d | cpu: <unknown>/50% | <unset> | 5 | 0 | <unknown>",
    );
}
