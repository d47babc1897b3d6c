//! The policy of a key that the broker makes: the broker's role signs, as the key is meant to; the account's
//! administrators do everything but sign.

use serde_json::json;

use crate::Algorithm;

/// What administrators of the account may do with the key, as far as their own IAM policies allow it.
const ADMINISTRATION: [&str; 17] = [
    "kms:CancelKeyDeletion",
    "kms:CreateAlias",
    "kms:DeleteAlias",
    "kms:DescribeKey",
    "kms:DisableKey",
    "kms:EnableKey",
    "kms:GetKeyPolicy",
    "kms:GetPublicKey",
    "kms:ListGrants",
    "kms:ListKeyPolicies",
    "kms:ListResourceTags",
    "kms:PutKeyPolicy",
    "kms:RevokeGrant",
    "kms:ScheduleKeyDeletion",
    "kms:TagResource",
    "kms:UntagResource",
    "kms:UpdateAlias",
];

/// The policy's JSON; `None` when the principal is no ARN of IAM.
pub(super) fn of_key(principal: &str, algorithm: Algorithm) -> Option<String> {
    let mut parts = principal.splitn(6, ':');
    let (arn, partition, service) = (parts.next()?, parts.next()?, parts.next()?);
    let (_region, account, name) = (parts.next()?, parts.next()?, parts.next()?);
    let is_account = account.len() == 12 && account.bytes().all(|byte| byte.is_ascii_digit());
    if arn != "arn" || service != "iam" || !is_account || name.is_empty() {
        return None;
    }
    let policy = json!({
        "Version": "2012-10-17",
        "Statement": [
            {
                "Sid": "Administration",
                "Effect": "Allow",
                "Principal": {"AWS": format!("arn:{partition}:iam::{account}:root")},
                "Action": ADMINISTRATION,
                "Resource": "*",
            },
            {
                // The alias itself is in the broker's IAM policy; AWS wants both.
                "Sid": "BrokerReadsAndNames",
                "Effect": "Allow",
                "Principal": {"AWS": principal},
                "Action": ["kms:CreateAlias", "kms:DescribeKey", "kms:GetPublicKey"],
                "Resource": "*",
            },
            {
                "Sid": "BrokerSigns",
                "Effect": "Allow",
                "Principal": {"AWS": principal},
                "Action": "kms:Sign",
                "Resource": "*",
                "Condition": {"StringEquals": {
                    "kms:MessageType": "RAW",
                    "kms:SigningAlgorithm": super::key::signing_algorithm(algorithm).as_str(),
                }},
            },
        ],
    });
    Some(policy.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_brokers_role_signs() {
        let role = "arn:aws-cn:iam::123456789012:role/path/usher-broker";
        let text = of_key(role, Algorithm::EcdsaP256).unwrap();
        let policy: serde_json::Value = serde_json::from_str(&text).unwrap();
        let statements = policy["Statement"].as_array().unwrap();
        let signing: Vec<_> = statements
            .iter()
            .filter(|statement| statement["Action"].to_string().contains("kms:Sign"))
            .collect();
        assert_eq!(signing.len(), 1);
        assert_eq!(signing[0]["Principal"]["AWS"], role);
        assert_eq!(signing[0]["Condition"]["StringEquals"]["kms:SigningAlgorithm"], "ECDSA_SHA_256");
        assert_eq!(statements[0]["Principal"]["AWS"], "arn:aws-cn:iam::123456789012:root");
        assert!(!text.contains("kms:*") && !text.contains("CreateGrant"));
    }

    #[test]
    fn what_is_no_iam_arn_makes_no_policy() {
        for principal in [
            "",
            "*",
            "usher",
            "arn:aws:sts::123456789012:assumed-role/a/b",
            "arn:aws:iam::12:role/a",
            "arn:aws:iam::123456789012:",
        ] {
            assert_eq!(of_key(principal, Algorithm::Ed25519), None, "{principal}");
        }
    }
}
