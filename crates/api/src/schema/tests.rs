use super::{Descriptions, List, Scalar, Shape, Type, all, definition, of_kind};
use crate::kinds;

#[test]
fn every_served_kind_has_a_schema() {
    for kind in kinds::ALL {
        let found = definition(kind.schema).unwrap_or_else(|| panic!("{} is not in facts/kinds.rs", kind.schema));
        assert_eq!(of_kind(kind.group, kind.version, kind.kind).map(|of_kind| of_kind.name), Some(found.name));
    }
}

#[test]
fn definitions_and_fields_are_sorted() {
    assert!(all().is_sorted_by(|a, b| a.name < b.name));
    assert!(all().iter().all(|definition| definition.fields.is_sorted_by(|a, b| a.name < b.name)));
}

#[test]
fn fields_have_types_and_facts() {
    let container = definition("io.k8s.api.core.v1.Container").unwrap();
    let ports = container.field("ports").unwrap();
    assert_eq!(ports.merge.list, Some(List::Map(&["containerPort", "protocol"])));
    assert!(ports.merge.patch_merges());
    assert_eq!(ports.merge.merge_key, "containerPort");
    let Type::List(Type::Ref(port)) = ports.ty else { panic!("{ports:?}") };
    assert_eq!(port.field("protocol").unwrap().default(), Some("TCP".into()));
    assert_eq!(port.field("containerPort").unwrap().default(), Some(0.into()));
    assert_eq!(port.field("hostPort").unwrap().default(), None);
    assert!(matches!(port.field("hostPort").unwrap().ty, Type::Scalar(Scalar::Int32)));
    assert!(container.field("nothing").is_none());
}

#[test]
fn special_types_have_their_shapes() {
    for (name, shape) in [
        ("io.k8s.apimachinery.pkg.api.resource.Quantity", Shape::Quantity),
        ("io.k8s.apimachinery.pkg.util.intstr.IntOrString", Shape::IntOrString),
        ("io.k8s.apimachinery.pkg.apis.meta.v1.Time", Shape::Time),
        ("io.k8s.apimachinery.pkg.apis.meta.v1.MicroTime", Shape::MicroTime),
        ("io.k8s.apimachinery.pkg.apis.meta.v1.FieldsV1", Shape::Json),
        ("io.k8s.apimachinery.pkg.apis.meta.v1.ObjectMeta", Shape::Struct),
    ] {
        assert_eq!(definition(name).unwrap().shape, shape, "{name}");
    }
    assert!(definition("io.k8s.api.core.v1.ObjectReference").unwrap().atomic);
}

#[test]
fn descriptions_are_those_of_their_fields() {
    let texts = Descriptions::unpack();
    let pod = definition("io.k8s.api.core.v1.Pod").unwrap();
    assert!(texts.of(pod).starts_with("Pod is a collection of containers"));
    let metadata = pod.fields.iter().position(|field| field.name == "metadata").unwrap();
    assert!(texts.of_field(pod, metadata).starts_with("Standard object's metadata"));
    let last = all().last().unwrap();
    assert!(last.fields.is_empty() || !texts.of_field(last, last.fields.len() - 1).is_empty());
}
